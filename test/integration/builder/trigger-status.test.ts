import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import type { Build } from '../../../builder/farm/build-service.ts';
import { createStatusReports, type StatusReports } from '../../../builder/triggers/status-reports.ts';
import type { Provider, Trigger } from '../../../builder/triggers/trigger.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { createMemoryStore } from '../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../core/object-store/object-store.ts';
import type { JobState } from '../../../core/queue/job-queue.ts';
import { waitFor } from '../../helpers/process.ts';
import { trigger } from '../../unit/builder/triggers/fixture.ts';
import { after as commit } from '../../unit/builder/triggers/payloads.ts';

interface Told {
  readonly path: string;
  readonly state: string;
  readonly [name: string]: unknown;
}

/** Takes what the providers' documentation says that they take, and nothing else. */
interface Forge extends AsyncDisposable {
  readonly api: string;
  readonly told: Told[];
  /** What is answered to the next requests instead. */
  readonly faults: ((response: ServerResponse) => void)[];
}

const token = 'a-token-for-statuses';

/** Header, states and keys of each API: "Create a commit status" (GitHub, Gitea), "Set commit pipeline status" (GitLab). */
const documented = {
  github: {
    path: /^\/api\/repos\/example\/web\/statuses\/([0-9a-f]{40})$/,
    headers: {
      authorization: `Bearer ${token}`,
      accept: 'application/vnd.github+json',
      'x-github-api-version': '2022-11-28',
      'user-agent': 'brickyard',
    },
    states: ['error', 'failure', 'pending', 'success'],
    keys: ['state', 'target_url', 'description', 'context'],
    longest: 140,
  },
  gitea: {
    path: /^\/api\/repos\/group\/shop\/statuses\/([0-9a-f]{40})$/,
    headers: { authorization: `token ${token}` },
    states: ['pending', 'success', 'error', 'failure', 'warning'],
    keys: ['state', 'target_url', 'description', 'context'],
    longest: 255,
  },
  gitlab: {
    path: /^\/api\/projects\/mike%2Fdiaspora\/statuses\/([0-9a-f]{40})$/,
    headers: { 'private-token': token },
    states: ['pending', 'running', 'success', 'failed', 'canceled', 'skipped'],
    keys: ['state', 'ref', 'name', 'target_url', 'description', 'coverage', 'pipeline_id'],
    longest: 255,
  },
} as const;

async function startForge(provider: keyof typeof documented): Promise<Forge> {
  const told: Told[] = [];
  const faults: ((response: ServerResponse) => void)[] = [];
  const rules = documented[provider];
  const wrong = async (request: IncomingMessage): Promise<string | Told> => {
    const path = request.url ?? '';
    const body = JSON.parse(await text(request)) as Told;
    if (request.method !== 'POST' || rules.path.exec(path)?.[1] !== commit) return `path ${path}`;
    for (const [name, value] of Object.entries(rules.headers)) {
      if (request.headers[name] !== value) return `header ${name}: ${String(request.headers[name])}`;
    }
    if (request.headers['content-type'] !== 'application/json') return 'content type';
    const unknown = Object.keys(body).find((key) => !(rules.keys as readonly string[]).includes(key));
    if (unknown !== undefined) return `key ${unknown}`;
    if (!(rules.states as readonly string[]).includes(body.state)) return `state ${body.state}`;
    if (String(body['description']).length > rules.longest) return 'description';
    if (provider === 'gitlab' && told.at(-1)?.state === body.state) {
      return `Cannot transition status via :enqueue from :${body.state}`;
    }
    return body;
  };
  const server = createServer((request, response) => {
    const fault = faults.shift();
    if (fault !== undefined) return fault(response);
    void wrong(request).then((result) => {
      if (typeof result === 'string') {
        response.writeHead(provider === 'gitlab' ? 400 : 422).end(JSON.stringify({ message: result }));
        told.push({ path: 'refused', state: result });
        return;
      }
      told.push({ ...result, path: request.url ?? '' });
      response.writeHead(201, { 'content-type': 'application/json' }).end('{"id": 1}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    api: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`,
    told,
    faults,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Builds in whatever state a test says. */
function createBuilds() {
  const states = new Map<string, { state: JobState; error?: string }>();
  return {
    set: (id: string, state: JobState, error?: string) =>
      void states.set(id, { state, ...(error === undefined ? {} : { error }) }),
    get: async (id: string) => {
      const found = states.get(id);
      const over = found !== undefined && found.state !== 'queued' && found.state !== 'running';
      return found === undefined
        ? undefined
        : ({ id, ...found, ...(over ? { finishedAt: new Date().toISOString() } : {}) } as Build);
    },
  };
}

function followed(provider: Provider, api: string, more: Partial<Trigger['remote']> = {}): Trigger {
  const record = trigger(provider, { status: { api, token, context: 'brickyard' } });
  return { ...record, remote: { ...record.remote, privateNetwork: true, ...more } };
}

function open(
  store: ObjectStore,
  builds: ReturnType<typeof createBuilds>,
  triggers: readonly Trigger[],
): StatusReports {
  const publicUrl = 'https://registry.example.com/';
  return createStatusReports({
    store,
    builds,
    triggers,
    log: createSilentLogger(),
    publicUrl,
    pollMs: 20,
    retryMs: 20,
  });
}

const what = { build: 'b1', commit, ref: 'refs/heads/main' };
const link = 'https://registry.example.com/builds/b1';

function until(condition: () => boolean, name: string): Promise<unknown> {
  return waitFor(async () => condition() || undefined, { what: name, timeoutMs: 30_000 });
}

async function isEmpty(store: ObjectStore): Promise<true | undefined> {
  return (await store.list({ prefix: 'hooks/statuses/' })).objects.length === 0 || undefined;
}

describe('the status of a commit', () => {
  it.each([
    ['github', ['pending', 'success'], { context: 'brickyard' }],
    ['gitea', ['pending', 'success'], { context: 'brickyard' }],
    ['gitlab', ['pending', 'running', 'success'], { name: 'brickyard', ref: 'main' }],
  ] as const)('is told to %s in its own words, with a link to the log', async (provider, states, named) => {
    await using forge = await startForge(provider);
    const store = createMemoryStore();
    const builds = createBuilds();
    const record = followed(provider, forge.api);
    const reports = open(store, builds, [record]);
    const worker = reports.work();

    builds.set('b1', 'queued');
    await reports.follow(record, what);
    await until(() => forge.told.length >= 1, 'the first status');
    builds.set('b1', 'running');
    if (provider === 'gitlab') await until(() => forge.told.length >= 2, 'the second status');
    builds.set('b1', 'succeeded');
    await waitFor(() => isEmpty(store), { what: 'the end', timeoutMs: 30_000 });
    await worker.close();

    // GitHub and Gitea have one word for waiting and running: they may hear it twice.
    const heard = forge.told.map(({ state }) => state).filter((state, at, all) => state !== all[at - 1]);
    expect(heard).toEqual(states);
    expect(forge.told.at(-1)).toMatchObject({
      ...named,
      target_url: link,
      description: 'The image is built',
    });
  });

  it.each([
    ['github', 'failed', 'failure'],
    ['github', 'cancelled', 'error'],
    ['github', 'superseded', 'error'],
    ['gitlab', 'failed', 'failed'],
    ['gitlab', 'superseded', 'canceled'],
    ['gitea', 'superseded', 'error'],
  ] as const)(
    'of %s for a build that %s is %s, with the reason cut to what fits',
    async (provider, state, word) => {
      await using forge = await startForge(provider);
      const store = createMemoryStore();
      const builds = createBuilds();
      const record = followed(provider, forge.api);
      builds.set('b1', state, `App.yaml:3:1: ${'long '.repeat(100)}\nand a second line`);
      const reports = open(store, builds, [record]);
      await reports.follow(record, what);

      const worker = reports.work();
      await waitFor(() => isEmpty(store), { what: 'the end', timeoutMs: 30_000 });
      await worker.close();

      expect(forge.told).toMatchObject([
        { state: word, description: expect.stringMatching(/: App\.yaml:3:1: long .*…$/) },
      ]);
    },
  );

  it('is told again while the provider is away, redirects or is too busy, and then once', async () => {
    await using forge = await startForge('github');
    await using elsewhere = await startForge('github');
    const store = createMemoryStore();
    const builds = createBuilds();
    const record = followed('github', forge.api);
    builds.set('b1', 'succeeded');
    forge.faults.push(
      (response) => void response.writeHead(503).end(),
      (response) => void response.destroy(),
      (response) => void response.writeHead(429, { 'retry-after': '1' }).end(),
      (response) =>
        void response
          .writeHead(307, { location: `${elsewhere.api}/repos/example/web/statuses/${commit}` })
          .end(),
    );
    const reports = open(store, builds, [record]);
    await reports.follow(record, what);

    const worker = reports.work();
    await waitFor(() => isEmpty(store), { what: 'the end', timeoutMs: 60_000 });
    await worker.close();

    expect(forge.told.map(({ state }) => state)).toEqual(['success']);
    expect(elsewhere.told).toEqual([]);
  });

  it('is told by one of two processes, and goes on where one that died was', async () => {
    await using forge = await startForge('gitea');
    const store = createMemoryStore();
    const builds = createBuilds();
    const record = followed('gitea', forge.api);
    builds.set('b1', 'queued');
    const first = open(store, builds, [record]);
    await first.follow(record, what);
    await first.follow(record, what);
    const workers = [first.work(), open(store, builds, [record]).work()];
    await until(() => forge.told.length > 0, 'the first status');
    await Promise.all(workers.map((worker) => worker.close()));

    builds.set('b1', 'succeeded');
    const next = open(store, builds, [record]).work();
    await waitFor(() => isEmpty(store), { what: 'the end', timeoutMs: 30_000 });
    await next.close();

    expect(forge.told.map(({ state }) => state)).toEqual(['pending', 'success']);
  });

  it('is told to no private address that the trigger does not allow', async () => {
    await using forge = await startForge('github');
    const store = createMemoryStore();
    const builds = createBuilds();
    const record = followed('github', forge.api, { privateNetwork: false });
    builds.set('b1', 'succeeded');
    const reports = open(store, builds, [record]);
    await reports.follow(record, what);

    const worker = reports.work();
    const failures = async (): Promise<true | undefined> => {
      const kept = await store.get('hooks/statuses/b1');
      const { failures = 0 } = JSON.parse(kept?.body.toString() ?? '{}') as { failures?: number };
      return failures > 1 || undefined;
    };
    await waitFor(failures, { what: 'two attempts', timeoutMs: 30_000 });
    await worker.close();

    expect(forge.told).toEqual([]);
  });

  it('is forgotten with a trigger or a build that is gone', async () => {
    const store = createMemoryStore();
    const builds = createBuilds();
    const record = followed('github', 'http://127.0.0.1:1/api');
    builds.set('b1', 'succeeded');
    await open(store, builds, [record]).follow(record, what);
    await open(store, builds, [record]).follow(record, { ...what, build: 'b2' });
    const others = { ...record, app: 'other' };

    const worker = open(store, builds, [others]).work();
    await waitFor(() => isEmpty(store), { what: 'the end', timeoutMs: 30_000 });
    await worker.close();
  });
});
