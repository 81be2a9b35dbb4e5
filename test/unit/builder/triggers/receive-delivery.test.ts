import { describe, expect, it } from 'vitest';
import { forgetOldDeliveries } from '../../../../builder/triggers/old-deliveries.ts';
import {
  createDeliveryReceiver,
  type ReceiveDelivery,
} from '../../../../builder/triggers/receive-delivery.ts';
import { createRefFilter } from '../../../../builder/triggers/ref-filter.ts';
import { createSeenDeliveries } from '../../../../builder/triggers/seen-deliveries.ts';
import type { Trigger } from '../../../../builder/triggers/trigger.ts';
import { createEventBus } from '../../../../core/events.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import { createEmbeddedQueue } from '../../../../core/queue/embedded.ts';
import type { JobQueue } from '../../../../core/queue/job-queue.ts';
import { raw, trigger } from './fixture.ts';
import {
  after,
  generic,
  github,
  githubPullRequest,
  githubPush,
  gitlab,
  gitlabMergeRequest,
  gitlabPush,
  newSecret,
} from './payloads.ts';

function open(
  triggers: readonly Trigger[],
  store: ObjectStore = createMemoryStore(),
): { receive: ReceiveDelivery; queue: JobQueue } {
  const queue = createEmbeddedQueue({
    store,
    prefix: 'deliveries/',
    events: createEventBus(),
    owner: 'test',
  });
  const seen = createSeenDeliveries(store);
  return { queue, receive: createDeliveryReceiver({ triggers, seen, queue }) };
}

const sent = (fields = githubPush, id = 'delivery-1') =>
  raw('github', github('push', fields), { 'x-github-delivery': id });
const genericPush = (fields = {}) => ({
  updates: [{ ref: 'refs/heads/main', old: '0'.repeat(40), new: after }],
  ...fields,
});

describe('a webhook that is taken', () => {
  it('is a job in the store before it is answered, for the app of its record and nothing that it says itself', async () => {
    const { receive, queue } = open([trigger('github')]);
    const repository = {
      ...(githubPush['repository'] as object),
      clone_url: 'https://attacker.example.com/x.git',
    };

    const received = await receive(sent({ ...githubPush, repository, team: 'other', app: 'other' }));

    expect(received).toMatchObject({ kind: 'kept', duplicate: false });
    const [job] = await queue.list();
    expect(job).toMatchObject({
      state: 'queued',
      payload: {
        team: 'shop',
        app: 'web',
        url: 'https://github.com/example/web.git',
        pusher: 'github:octocat',
        refs: [{ from: 'refs/heads/main', to: 'refs/heads/main', commit: after }],
      },
    });
  });

  it('by two replicas at once is one job', async () => {
    const store = createMemoryStore();
    const one = open([trigger('github')], store);
    const two = open([trigger('github')], store);

    const received = await Promise.all(
      Array.from({ length: 10 }, (_, index) => (index % 2 === 0 ? one : two).receive(sent())),
    );

    const ids = received.map((each) => (each.kind === 'kept' ? each.delivery.id : ''));
    expect(new Set(ids).size).toBe(1);
    expect(received.filter((each) => each.kind === 'kept' && !each.duplicate)).toHaveLength(1);
    expect(await one.queue.list()).toHaveLength(1);
  });

  it('is the same one under a new delivery id, and another one with another body', async () => {
    const { receive, queue } = open([trigger('github')]);

    const first = await receive(sent());
    const replayed = await receive(sent(githubPush, 'delivery-2'));
    const other = await receive(sent({ ...githubPush, pushed_at: 2 }, 'delivery-3'));

    expect(replayed).toMatchObject({
      duplicate: true,
      delivery: { id: first.kind === 'kept' && first.delivery.id },
    });
    expect(other).toMatchObject({ duplicate: false });
    expect(await queue.list()).toHaveLength(2);
  });

  it('may be sent again when it came to nothing', async () => {
    const { receive, queue } = open([trigger('github')]);
    const first = await receive(sent());
    await queue.cancel(first.kind === 'kept' ? first.delivery.id : '', 'test');

    expect(await receive(sent())).toMatchObject({ kind: 'kept', duplicate: false });
    expect(await queue.list()).toHaveLength(2);
  });

  it('is finished by whoever gets it again, when its first process died between claim and job', async () => {
    const store = createMemoryStore();
    const { queue } = open([trigger('github')], store);
    const dies = createDeliveryReceiver({
      triggers: [trigger('github')],
      seen: createSeenDeliveries(store),
      queue: { ...queue, add: () => Promise.reject(new Error('killed')) },
    });
    await expect(dies(sent())).rejects.toThrow('killed');

    const again = await open([trigger('github')], store).receive(sent());

    expect(again.kind).toBe('kept');
    expect(await queue.list()).toHaveLength(1);
  });

  it('of GitLab twice with the same body is two: the second push may have undone what came in between', async () => {
    const { receive } = open([trigger('gitlab')]);
    const push = (id: string) => raw('gitlab', gitlab('Push Hook', gitlabPush), { 'idempotency-key': id });

    expect(await receive(push('11111111'))).toMatchObject({ duplicate: false });
    expect(await receive(push('11111111'))).toMatchObject({ duplicate: true });
    expect(await receive(push('22222222'))).toMatchObject({ duplicate: false });
  });

  it('is remembered for a week', async () => {
    const store = createMemoryStore();
    let now = Date.now();
    const seen = createSeenDeliveries(store, () => now);
    const claim = (by: string) => seen.claim({ kind: 'body', scope: 's', value: 'v' }, by, async () => false);

    expect(await claim('one')).toBe('one');
    expect(await claim('two')).toBe('one');
    now += 8 * 24 * 60 * 60 * 1000;
    expect(await claim('three')).toBe('three');
    now += 8 * 24 * 60 * 60 * 1000;
    await seen.sweep();
    expect((await store.list({ prefix: 'hooks/' })).objects).toEqual([]);
  });
});

describe('what became of a webhook', () => {
  it('is known for 30 days after it is over', async () => {
    const store = createMemoryStore();
    const { receive, queue } = open([trigger('github')], store);
    const idOf = async (fields: typeof githubPush, id: string): Promise<string> => {
      const received = await receive(sent(fields, id));
      return received.kind === 'kept' ? received.delivery.id : '';
    };
    const over = await idOf(githubPush, 'delivery-1');
    const waiting = await idOf({ ...githubPush, pushed_at: 2 }, 'delivery-2');
    await queue.cancel(over, 'test');
    const day = 24 * 60 * 60 * 1000;

    await forgetOldDeliveries(store, Date.now() + 29 * day);
    expect(await queue.list()).toHaveLength(2);
    await forgetOldDeliveries(store, Date.now() + 31 * day);
    expect((await queue.list()).map(({ id }) => id)).toEqual([waiting]);
  });
});

describe('which trigger a webhook is for', () => {
  const web = trigger('github');
  const api = trigger('github', { app: 'api', url: 'https://github.com/example/api' });

  it('is found by the repository that it is about, among those with its secret, in any case of letters', async () => {
    const { receive } = open([web, api]);
    const of = (name: string, id: string) =>
      receive(sent({ ...githubPush, repository: { full_name: name } }, `delivery-${id}`));

    expect(await of('Example/API', '1')).toMatchObject({ delivery: { request: { app: 'api' } } });
    expect(await of('example/web', '2')).toMatchObject({ delivery: { request: { app: 'web' } } });
    expect(await of('example/other', '3')).toMatchObject({
      kind: 'ignored',
      message: expect.stringMatching(/follows example\/other/),
    });
    expect(await of('ample/web', '4')).toMatchObject({ kind: 'ignored' });
  });

  it('has to be said where several fit, and is then only one of those', async () => {
    const twin = trigger('github', { app: 'twin' });
    const foreign = trigger('github', { app: 'foreign', secrets: [newSecret] });
    const { receive } = open([web, twin, foreign]);

    expect(await receive(sent())).toMatchObject({
      kind: 'refused',
      status: 400,
      message: expect.stringMatching(/\(shop\/web, shop\/twin\): put \?app=/),
    });
    expect(await receive(sent(), 'shop/twin')).toMatchObject({ delivery: { request: { app: 'twin' } } });
    expect(await receive(sent(), 'shop/foreign')).toMatchObject({ kind: 'refused', status: 400 });
  });

  it('may stand in a generic one', async () => {
    const { receive } = open([trigger('generic'), trigger('generic', { app: 'api' })]);

    expect(await receive(raw('generic', generic(genericPush({ repository: 'shop/api' }))))).toMatchObject({
      delivery: { request: { app: 'api', pusher: 'generic:webhook' } },
    });
    expect(await receive(raw('generic', generic(genericPush())))).toMatchObject({
      kind: 'refused',
      status: 400,
    });
  });
});

describe('what of a webhook is looked at', () => {
  it.each([
    ['refs/heads/main', true],
    ['refs/heads/release/1', true],
    ['refs/heads/release/1/x', true],
    ['refs/heads/feature', false],
    ['refs/tags/v1', true],
    ['refs/tags/nightly', false],
    ['refs/pull/1/head', false],
    ['refs/changes/01/1/1', false],
  ])('%s: %s', (ref, expected) => {
    const passes = createRefFilter({ branches: ['main', 'release/*'], tags: ['v*'], forks: 'never' });

    expect(passes(ref)).toBe(expected);
  });

  it('is no branch that the trigger does not name, and no ref that is neither branch nor tag', async () => {
    const { receive, queue } = open([trigger('generic', { branches: ['main'], tags: [] })]);
    const of = (ref: string) => receive(raw('generic', generic({ updates: [{ ref, new: after }] })));

    for (const ref of [
      'refs/heads/other',
      'refs/tags/v1',
      'refs/notes/x',
      'refs/brickyard/pr-1',
      'HEAD',
      '--upload-pack=x',
    ]) {
      expect(await of(ref)).toMatchObject({ kind: 'ignored' });
    }
    expect(await of('refs/heads/main')).toMatchObject({ kind: 'kept' });
    expect(await queue.list()).toHaveLength(1);
  });

  it.each([
    'refs/heads/a..b',
    'refs/heads/a b',
    'refs/heads/a:b',
    'refs/heads/-o\n',
    'refs/heads/*',
    'refs/heads/a.lock',
    `refs/heads/${'a'.repeat(600)}`,
  ])('is refused when its ref is %j', async (ref) => {
    const { receive } = open([trigger('generic')]);

    expect(await receive(raw('generic', generic({ updates: [{ ref, new: after }] })))).toMatchObject({
      kind: 'refused',
      status: 400,
      message: expect.stringMatching(/is no name of a ref/),
    });
  });

  it('is a fork’s pull request only where the trigger takes them, by the ref of the repository itself', async () => {
    const taking = open([trigger('github', { forks: 'build' }), trigger('gitlab', { forks: 'build' })]);
    const request = raw('github', github('pull_request', githubPullRequest('stranger/web')));
    const merge = raw('gitlab', gitlab('Merge Request Hook', gitlabMergeRequest({ source_project_id: 9 })));

    expect(await open([trigger('github')]).receive(request)).toMatchObject({ kind: 'ignored' });
    expect(await taking.receive(request)).toMatchObject({
      delivery: {
        request: { refs: [{ from: 'refs/pull/12/head', to: 'refs/brickyard/pr-12', commit: after }] },
      },
    });
    expect(await taking.receive(merge)).toMatchObject({
      delivery: { request: { refs: [{ from: 'refs/merge-requests/1/head', to: 'refs/brickyard/pr-1' }] } },
    });
  });
});
