import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { type BuildPage, renderBuild } from '../../../console/build-page.ts';
import { buildPageScript } from '../../../console/build-page-script.ts';

const page: BuildPage = {
  host: '127.0.0.1:5000',
  id: 'b1',
  state: 'running',
  facts: [['Repository', 'team/app']],
  phases: [
    ['queue', 0],
    ['build', 1500],
  ],
  apps: [{ title: 'team/app', plan: 'base x', dockerfile: 'FROM x' }],
  mayBuild: true,
  nonce: 'n1',
};

describe('the page of a build', () => {
  it('shows what it is and what can be done with it', () => {
    const html = renderBuild(page);

    expect(html).toContain('data-stream="/api/v1/builds/b1/log/stream" data-active="true"');
    expect(html).toContain('<a href="/api/v1/builds/b1/log">the log as text</a>');
    expect(html).toContain('data-post="/api/v1/builds/b1/cancel"');
    expect(html).toContain('build 1.5 s');
    expect(html).not.toContain('</i>queue');
    expect(renderBuild({ ...page, state: 'failed' })).toContain('data-post="/api/v1/builds/b1/retry"');
    expect(renderBuild({ ...page, mayBuild: false })).not.toContain('data-post="');
  });

  it('lets no text from outside become markup', () => {
    const hostile = `"><script>alert('1')</script>&`;

    const html = renderBuild({
      ...page,
      host: hostile,
      id: hostile,
      error: hostile,
      facts: [[hostile, hostile]],
      phases: [[hostile, 1]],
      apps: [{ title: hostile, plan: hostile, dockerfile: hostile }],
    });

    expect(html.match(/<script/g)).toHaveLength(1);
    expect(html).toContain('<script nonce="n1">');
    expect(html).toContain('&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;');
    expect(buildPageScript).not.toContain('</');
  });

  it('turns lines into text and colours, and nothing into markup (builder.md 6, row 27)', () => {
    const browser = runScript();

    browser.say('1-2', 'a \u001b[1;31mred\u001b[39m bold\u001b[0m <b>x</b>\n\u001b[38;5;34mplain');

    expect(browser.lines()).toEqual([[['a '], ['red', 'f1 b'], [' bold', 'b'], [' <b>x</b>']], [['plain']]]);
  });

  it('asks for the log again behind its last line when the server is gone', () => {
    const browser = runScript();
    browser.say('2-7', 'x');

    browser.lose();

    expect(browser.asked).toEqual(['/stream', '/stream?after=2-7']);
  });
});

interface FakeNode {
  className?: string;
  textContent?: string;
  children: FakeNode[];
  append(...nodes: (FakeNode | string)[]): void;
  readonly firstChild: FakeNode | null;
}

/** The page's script, in as much of a browser as it needs. */
function runScript() {
  const node = (more: object = {}): FakeNode => ({
    children: [],
    append(...nodes) {
      this.children.push(
        ...nodes.map((each) => (typeof each === 'string' ? node({ textContent: each }) : each)),
      );
    },
    get firstChild() {
      return this.children[0] ?? null;
    },
    ...more,
  });
  const log = node({ dataset: { stream: '/stream', active: 'true' } });
  const asked: string[] = [];
  const sources: { onmessage?: (event: object) => void; onerror?: () => void; readyState: number }[] = [];
  class EventSource {
    static readonly CLOSED = 2;
    readonly readyState: number = 0;
    constructor(url: string) {
      asked.push(url);
      sources.push(this);
    }
    addEventListener(): void {}
  }
  runInNewContext(buildPageScript, {
    document: {
      getElementById: (id: string) => (id === 'log' ? log : node()),
      createElement: () => node(),
      createTextNode: (text: string) => node({ textContent: text }),
      querySelectorAll: () => [],
    },
    EventSource,
    requestAnimationFrame: (show: () => void) => whenShown(show),
    setTimeout: (again: () => void) => again(),
    encodeURIComponent,
  });
  let pending: (() => void) | undefined;
  function whenShown(show: () => void): void {
    pending = show;
  }
  return {
    asked,
    say(lastEventId: string, data: string) {
      sources.at(-1)?.onmessage?.({ lastEventId, data });
      pending?.();
    },
    lose() {
      const source = sources.at(-1);
      Object.assign(source ?? {}, { readyState: 2 });
      source?.onerror?.();
    },
    lines: () =>
      log.children.map(({ children }) =>
        children.map(({ textContent, className }) =>
          className === undefined ? [textContent] : [textContent, className],
        ),
      ),
  };
}
