import { describe, expect, it } from 'vitest';
import { type HomePage, renderHome } from '../../../console/page.ts';

const page: HomePage = {
  host: '127.0.0.1:5000',
  url: 'http://127.0.0.1:5000',
  repositories: [],
  moreRepositories: false,
  builds: [],
};

describe('the start page', () => {
  it('says how to begin when nothing is there', () => {
    const html = renderHome(page);

    expect(html).toContain('Nothing is here yet');
    expect(html).toContain('docker push 127.0.0.1:5000/team/app:1.0');
    expect(html).toContain('git push http://127.0.0.1:5000/git/team/app.git main');
  });

  it('shows builds with their log, and repositories', () => {
    const html = renderHome({
      ...page,
      signedInAs: 'alice',
      repositories: ['team/app'],
      moreRepositories: true,
      builds: [
        {
          id: 'b1',
          repository: 'team/app',
          ref: 'main',
          state: 'failed',
          createdAt: '2026-01-02T03:04:05.678Z',
          outcome: 'no App.yaml',
        },
      ],
    });

    expect(html).not.toContain('Nothing is here yet');
    expect(html).toContain('signed in as alice');
    expect(html).toContain('<a href="/api/v1/builds/b1/log">log</a>');
    expect(html).toContain('<a class="state failed" href="/builds/b1">failed</a>');
    expect(html).toContain('2026-01-02 03:04:05');
    expect(html).toContain('no App.yaml');
    expect(html).toContain('<a href="/v2/team/app/tags/list">team/app</a>');
    expect(html).toContain('brickyard images ls');
  });

  it('lets no text from outside become markup', () => {
    const hostile = `"><script>alert('1')</script>&`;

    const html = renderHome({
      host: hostile,
      url: hostile,
      signedInAs: hostile,
      repositories: [hostile],
      moreRepositories: false,
      builds: [
        {
          id: hostile,
          repository: hostile,
          ref: hostile,
          state: 'failed',
          createdAt: hostile,
          outcome: hostile,
        },
      ],
    });

    expect(html).not.toContain('<script');
    // No attribute is left early: behind an equals sign stands one quoted value.
    expect(html.match(/href="[^"]*"|datetime="[^"]*"/g)).toHaveLength(7);
    expect(html).toContain('&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;');
  });
});
