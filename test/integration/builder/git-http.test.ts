import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PushListener } from '../../../builder/git/git-host.ts';
import { type Authorizer, anonymous } from '../../../core/auth/authorizer.ts';
import { waitFor } from '../../helpers/process.ts';
import { commitFiles, createWork } from './farm-fixture.ts';
import { createRecorder, createWorkshop, type GitServer, git, gitOk, serveGit } from './git-fixture.ts';

const zero = '0'.repeat(40);

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

function post(
  server: GitServer,
  path: string,
  body: Buffer,
  headers: Record<string, string> = {},
  chunked = false,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${server.url}${path}`, {
      method: 'POST',
      headers: {
        'Content-Type': `application/x-${path.split('/').at(-1)}-request`,
        ...(chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': String(body.length) }),
        ...headers,
      },
    });
    request.on('error', reject);
    request.on('response', (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }),
      );
      response.on('error', reject);
    });
    request.end(body);
  });
}

function pkt(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text as string);
  return Buffer.concat([Buffer.from((bytes.length + 4).toString(16).padStart(4, '0')), bytes]);
}

/** The body of a push of one commit that the server has, to any refs. */
function createRefs(commit: string, ...refs: (string | Buffer)[]): Buffer {
  const commands = refs.map((ref, index) =>
    pkt(
      Buffer.concat([
        Buffer.from(`${zero} ${commit} `),
        Buffer.from(ref as string),
        Buffer.from(index === 0 ? '\0 report-status side-band-64k agent=test' : ''),
      ]),
    ),
  );
  // A pack without objects: "PACK", version 2, 0 objects, SHA-1 of that.
  const pack = Buffer.from('5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e', 'hex');
  return Buffer.concat([...commands, Buffer.from('0000'), pack]);
}

describe('git over HTTP', () => {
  it('takes a pack of more than 50 MB, which git sends chunked, and gives it back', async () => {
    await using shop = await createWorkshop();
    await using server = await serveGit({ ...shop, listener: createRecorder() });
    const work = await createWork(join(shop.path, 'work'));
    await writeFile(join(work, 'big.bin'), randomBytes(55 * 1024 * 1024));
    await commitFiles(work, {});
    const url = `${server.url}/git/team/app.git`;
    const encodings: (string | undefined)[] = [];
    server.server.prependListener('request', ({ headers }) => encodings.push(headers['transfer-encoding']));

    await gitOk(work, 'push', '-q', url, 'main');
    await rm(join(shop.cacheDir, 'repositories'), { recursive: true });
    await gitOk(shop.path, 'clone', '-q', url, 'back');

    expect(encodings).toContain('chunked');
    expect(await gitOk(join(shop.path, 'back'), 'rev-parse', 'HEAD^{tree}')).toBe(
      await gitOk(work, 'rev-parse', 'HEAD^{tree}'),
    );
  });

  it('takes bodies that are gzipped, chunked, or both', async () => {
    await using shop = await createWorkshop();
    const listener = createRecorder();
    await using server = await serveGit({ ...shop, listener });
    const work = await createWork(join(shop.path, 'work'));
    await gitOk(work, 'push', '-q', `${server.url}/git/team/app.git`, 'main');
    const commit = (await gitOk(work, 'rev-parse', 'HEAD')).trim();
    const path = '/git/team/app.git/git-receive-pack';
    const gzip = { 'Content-Encoding': 'gzip' };

    const answers = [
      await post(server, path, gzipSync(createRefs(commit, 'refs/heads/a')), gzip),
      await post(server, path, gzipSync(createRefs(commit, 'refs/heads/b')), gzip, true),
      await post(server, path, createRefs(commit, 'refs/heads/c'), {}, true),
    ];

    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(listener.updates.map(({ ref }) => ref)).toEqual([
      'refs/heads/main',
      'refs/heads/a',
      'refs/heads/b',
      'refs/heads/c',
    ]);
  });

  it('moves no ref of a push of which one is refused', async () => {
    await using shop = await createWorkshop();
    await using server = await serveGit({ ...shop, listener: createRecorder() });
    const work = await createWork(join(shop.path, 'work'));
    const url = `${server.url}/git/team/app.git`;
    await gitOk(work, 'push', '-q', url, 'main');
    const commit = (await gitOk(work, 'rev-parse', 'HEAD')).trim();

    const body = createRefs(commit, 'refs/heads/fine', 'refs/heads/main');
    const answer = await post(server, '/git/team/app.git/git-receive-pack', body);

    expect(answer.body.toString()).toContain('ng refs/heads/main ref moved meanwhile, fetch first');
    expect(answer.body.toString()).toContain('ng refs/heads/fine refused together');
    expect((await gitOk(work, 'ls-remote', '--heads', url)).trim()).toMatch(/^\S+\trefs\/heads\/main$/);
  });

  it.each([
    ['/git/team/app.git/info/refs', 403],
    ['/git/team/app.git/HEAD', 404],
    ['/git/team/app.git/objects/info/packs', 404],
    ['/git/team/../app.git/info/refs?service=git-upload-pack', 404],
    ['/git/team/%2e%2e.git/info/refs?service=git-receive-pack', 400],
    ['/git/Team/app.git/info/refs?service=git-receive-pack', 400],
    ['/git/-x/app.git/info/refs?service=git-receive-pack', 400],
    ['/git/team/app/more.git/info/refs?service=git-receive-pack', 404],
    ['/git/team/app.git/info/refs?service=git-upload-archive', 403],
    ['/git/baseimages/nodejs.git/info/refs?service=git-receive-pack', 403],
    ['/git/team/absent.git/info/refs?service=git-upload-pack', 404],
  ])('answers GET %s with %i', async (path, status) => {
    await using shop = await createWorkshop();
    await using server = await serveGit({ ...shop, listener: createRecorder() });

    const answer = await new Promise<number>((resolve, reject) => {
      // Not fetch(): it would tidy up the path.
      httpRequest({ host: '127.0.0.1', port: new URL(server.url).port, path }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      })
        .on('error', reject)
        .end();
    });

    expect(answer).toBe(status);
    expect(await readdir(join(shop.cacheDir, 'repositories'))).toEqual([]);
  });

  it('asks for credentials where nobody may push, and refuses somebody who may not', async () => {
    await using shop = await createWorkshop();
    const authorizer: Authorizer = { may: (_who, action) => action === 'pull' };
    let principal = anonymous;
    await using server = await serveGit({
      ...shop,
      listener: createRecorder(),
      identity: () => ({ principal, authorizer }),
    });
    const path = `${server.url}/git/team/app.git/info/refs?service=git-receive-pack`;

    const nobody = await fetch(path);
    principal = { name: 'eve', anonymous: false };
    const somebody = await fetch(path);

    expect(nobody.status).toBe(401);
    expect(nobody.headers.get('www-authenticate')).toMatch(/^Basic realm="brickyard"/);
    expect(somebody.status).toBe(403);
    expect(await somebody.text()).toBe('eve may not push to team/app\n');
  });

  it.each([
    ['no refs', []],
    ['branches and annotated tags', ['main', 'main:a-b', 'main:a/b', 'v1']],
  ])('says of a repository with %s what receive-pack says', async (_, refs) => {
    await using shop = await createWorkshop();
    await using server = await serveGit({ ...shop, listener: createRecorder() });
    const work = await createWork(join(shop.path, 'work'));
    await gitOk(work, 'tag', '-a', '-m', 'one', 'v1');
    const url = `${server.url}/git/team/app.git`;
    if (refs.length > 0) await gitOk(work, 'push', '-q', url, ...refs);

    const answer = await fetch(`${url}/info/refs?service=git-receive-pack`);
    const ours = await answer.text();
    const settings = ['receive.advertisePushOptions=true', 'safe.directory=*'].flatMap((one) => ['-c', one]);
    const folder = join(shop.cacheDir, 'repositories/team/app.git');
    // The folder is made while git reads the answer.
    await waitFor(() => existsSync(join(folder, 'packed-refs')), { what: 'the repository' });
    const theirs = await gitOk(
      work,
      ...settings,
      'receive-pack',
      '--stateless-rpc',
      '--advertise-refs',
      folder,
    );

    expect(answer.headers.get('content-type')).toBe('application/x-git-receive-pack-advertisement');
    const lines = (text: string): string[] =>
      text.split('\n').map((line) => line.slice(4).replace(/ agent=\S+/, ''));
    expect(ours.startsWith('001f# service=git-receive-pack\n0000')).toBe(true);
    expect(lines(ours.slice('001f# service=git-receive-pack\n0000'.length))).toEqual(lines(theirs));
  });

  it('takes nothing for a push that does not say it is one', async () => {
    await using shop = await createWorkshop();
    await using server = await serveGit({ ...shop, listener: createRecorder() });

    const answer = await fetch(`${server.url}/git/team/app.git/git-receive-pack`, {
      method: 'POST',
      headers: { 'Content-Type': 'text/plain' },
      body: '0000',
    });

    expect(answer.status).toBe(415);
    expect(await answer.text()).toBe('this address takes application/x-git-receive-pack-request only\n');
  });

  // git waits for ever for a body whose end nobody tells it.
  it.each(['git-receive-pack', 'git-upload-pack'])(
    'ends a %s whose client leaves in mid-body',
    async (service) => {
      await using shop = await createWorkshop();
      const server = await serveGit({ ...shop, listener: createRecorder() });
      const work = await createWork(join(shop.path, 'work'));
      await gitOk(work, 'push', '-q', `${server.url}/git/team/app.git`, 'main');
      const began = new Promise<void>((resolve) => server.server.once('request', () => resolve()));
      const request = httpRequest(`${server.url}/git/team/app.git/${service}`, {
        method: 'POST',
        headers: { 'Content-Type': `application/x-${service}-request`, 'Content-Length': '5000' },
      });
      request.on('error', () => {});
      request.write(createRefs('a'.repeat(40), 'refs/heads/x').subarray(0, 60));
      await began;

      request.destroy();

      // Returns when git's processes have ended.
      await server.close();
    },
  );

  it('keeps no objects of a refused push, so that no later push can build upon them', async () => {
    await using shop = await createWorkshop();
    await using server = await serveGit({ ...shop, listener: createRecorder() });
    const work = await createWork(join(shop.path, 'work'));
    const url = `${server.url}/git/team/app.git`;
    await gitOk(work, 'push', '-q', url, 'main');
    const commit = await commitFiles(work, { 'b.txt': 'b' });
    await git(work, 'push', url, 'main:refs/heads/main/below');

    const answer = await post(
      server,
      '/git/team/app.git/git-receive-pack',
      createRefs(commit, 'refs/heads/x'),
    );

    expect(answer.body.toString()).toContain('ng refs/heads/x missing necessary objects');
  });

  it('keeps nothing of a sha256 repository', async () => {
    await using shop = await createWorkshop();
    await using server = await serveGit({ ...shop, listener: createRecorder() });
    const work = join(shop.path, 'work');
    await gitOk(shop.path, 'init', '-q', '-b', 'main', '--object-format=sha256', work);
    await commitFiles(work, { a: 'a' });

    const pushed = await git(work, 'push', `${server.url}/git/team/app.git`, 'main');

    // What is said is the client's own: newer ones name the hash algorithm, older ones a protocol error.
    expect(pushed.code).not.toBe(0);
    expect((await shop.store.list({ prefix: 'git/' })).objects).toEqual([]);
  });

  it('goes on when the pusher leaves in the middle of a build', async () => {
    await using shop = await createWorkshop();
    const said: string[] = [];
    let building = false;
    let left = false;
    const listener: PushListener = {
      accepted: async (updates) => void said.push(...updates.map(({ ref }) => ref)),
      async follow(_updates, write, signal) {
        write('building');
        building = true;
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        left = true;
      },
    };
    await using server = await serveGit({ ...shop, listener });
    const work = await createWork(join(shop.path, 'work'));
    const url = `${server.url}/git/team/app.git`;
    // In a process group, as Ctrl-C ends git's helper too.
    const pushing = spawn('git', ['push', url, 'main'], { cwd: work, detached: true, stdio: 'ignore' });
    await waitFor(() => building, { what: 'the build to begin' });

    process.kill(-(pushing.pid ?? 0), 'SIGINT');

    await waitFor(() => left, { what: 'the server to see that the pusher left' });
    expect(said).toEqual(['refs/heads/main']);
    expect((await gitOk(work, 'ls-remote', url, 'refs/heads/main')).slice(0, 40)).toBe(
      (await gitOk(work, 'rev-parse', 'HEAD')).trim(),
    );
  });

  it('repairs a damaged cache by itself', async () => {
    await using shop = await createWorkshop();
    await using server = await serveGit({ ...shop, listener: createRecorder() });
    const work = await createWork(join(shop.path, 'work'));
    const url = `${server.url}/git/team/app.git`;
    await gitOk(work, 'push', '-q', url, 'main');
    const folder = join(shop.cacheDir, 'repositories/team/app.git/objects/pack');
    for (const name of await readdir(folder))
      if (name.endsWith('.pack')) await truncate(join(folder, name), 40);

    const cloned = await waitFor(
      async () => {
        const target = join(shop.path, `back-${randomBytes(4).toString('hex')}`);
        return (await git(shop.path, 'clone', '-q', url, target)).code === 0 ? target : undefined;
      },
      { what: 'a clone from the repaired cache' },
    );

    expect(await gitOk(cloned, 'rev-parse', 'HEAD')).toBe(await gitOk(work, 'rev-parse', 'HEAD'));
  });
});

describe('hostile ref names', () => {
  const open = new AsyncDisposableStack();
  let server: GitServer;
  let work: string;
  let commit: string;
  const listener = createRecorder();

  beforeAll(async () => {
    const shop = open.use(await createWorkshop());
    server = open.use(await serveGit({ ...shop, listener }));
    work = await createWork(join(shop.path, 'work'));
    await gitOk(work, 'push', '-q', `${server.url}/git/team/app.git`, 'main');
    commit = (await gitOk(work, 'rev-parse', 'HEAD')).trim();
  });
  afterAll(() => open.disposeAsync());

  it.each([
    ['refs/heads/../../x'],
    ['refs/heads/-x..y'],
    ['refs/heads/a b'],
    ['refs/heads/x.lock'],
    ['refs/heads/.hidden'],
    ['refs/heads/a//b'],
    ['refs/heads/'],
    ['refs/x'],
    ['HEAD'],
    ['../refs/heads/x'],
    ['refs/heads/a\u0001b'],
    ['refs/heads/@{x'],
    ['refs/heads/main/below'],
    ['refs/brickyard/UPPER'],
    [Buffer.from([...Buffer.from('refs/heads/'), 0xff, 0xfe])],
    [`refs/heads/${'x'.repeat(600)}`],
  ])('%s is refused and the server lives', async (ref) => {
    const answer = await post(server, '/git/team/app.git/git-receive-pack', createRefs(commit, ref));

    expect(answer.body.toString('latin1')).toMatch(/ng |fatal|error/);
    expect(listener.updates).toHaveLength(1);
    const refs = await gitOk(work, 'ls-remote', `${server.url}/git/team/app.git`);
    expect(refs.trim().split('\n')).toHaveLength(2);
  });
});
