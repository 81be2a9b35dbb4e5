import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { mediaTypes } from '../../../oci/media-types.ts';
import { pushBaseImage } from '../../helpers/fault-git.ts';
import { createHttp, type Http } from '../../helpers/fault-http.ts';
import { manifestOf } from '../../helpers/fault-model.ts';
import { createContent } from '../../helpers/fault-random.ts';
import { restartServer } from '../../helpers/fault-server.ts';
import type { TestServer } from '../../helpers/server.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';
import { commitFiles, createWork } from '../builder/farm-fixture.ts';
import { git, gitOk } from '../builder/git-fixture.ts';

const hour = 3_600_000;
const repository = 'clock/blobs';

let directory: TempDirectory;
let servers: readonly [TestServer, TestServer];
let https: readonly [Http, Http];

/** A server whose clock is wrong by so many milliseconds, as all of its processes see it. */
function startSkewed(name: string, milliseconds: number): Promise<TestServer> {
  const shift =
    'const T=Date;globalThis.Date=new Proxy(T,{' +
    `construct:(t,a)=>a.length?new t(...a):new t(t.now()+${milliseconds}),` +
    `apply:(t)=>new t(t.now()+${milliseconds}).toString(),` +
    `get:(t,k)=>k==='now'?()=>t.now()+${milliseconds}:Reflect.get(t,k)});`;
  return restartServer({
    data: directory.path,
    env: {
      BRICKYARD_DATA: join(directory.path, 'data'),
      BRICKYARD_PROCESSES: '1',
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(shift)} --title=${name}`,
    },
  });
}

beforeAll(async () => {
  directory = await createTempDirectory('clock');
  servers = await Promise.all([startSkewed('early', -hour), startSkewed('late', hour)]);
  https = [createHttp(() => servers[0].url), createHttp(() => servers[1].url)];
  await pushBaseImage(https[0]);
});

afterAll(async () => {
  for (const http of https) http.close();
  await Promise.all(servers.map((server) => server.stop()));
  await directory.remove();
});

it('takes one upload through two servers whose clocks are two hours apart', async () => {
  const content = createContent('between', 3_000_000);
  const started = await https[0].send('POST', `/v2/${repository}/blobs/uploads/`, { body: Buffer.alloc(0) });
  const location = started.headers.location ?? '';

  for (let at = 0, turn = 1; at < content.size; at += 500_000, turn++) {
    const answer = await https[(turn % 2) as 0 | 1].send('PATCH', location, {
      headers: { 'content-range': `${at}-${at + 499_999}` },
      body: content.bytes(at, at + 500_000),
    });
    expect(answer.status).toBe(202);
  }
  const end = await https[1].send('PUT', `${location}?digest=${content.digest}`, { body: Buffer.alloc(0) });
  // As when the first answer was lost: a session that was done "in two hours" is still remembered.
  const again = await https[0].send('PUT', `${location}?digest=${content.digest}`, { body: Buffer.alloc(0) });

  expect([end.status, again.status]).toEqual([201, 201]);
  for (const http of https) {
    const read = await http.send('GET', `/v2/${repository}/blobs/${content.digest}`);
    expect(read.body.equals(content.bytes())).toBe(true);
  }
});

it('moves and deletes tags in the order of requests, whatever the clocks say', async () => {
  const content = createContent('tagged', 10);
  await https[1].send('POST', `/v2/${repository}/blobs/uploads/?digest=${content.digest}`, {
    headers: { 'content-type': 'application/octet-stream' },
    body: content.bytes(),
  });
  const path = `/v2/${repository}/manifests/tag`;

  for (let turn = 0; turn < 6; turn++) {
    const [writer, reader] = turn % 2 === 0 ? https : https.toReversed();
    const bytes = manifestOf([content], `turn ${turn}`);
    const put = await writer?.send('PUT', path, {
      headers: { 'content-type': mediaTypes.ociManifest },
      body: bytes,
    });
    expect(put?.status).toBe(201);
    expect((await reader?.send('GET', path))?.body.equals(bytes)).toBe(true);
    if (turn % 3 !== 2) continue;
    expect((await reader?.send('DELETE', path))?.status).toBe(202);
    expect((await writer?.send('GET', path))?.status).toBe(404);
  }
});

it('builds what is pushed now to one server and then to the other, the newest push last', async () => {
  const work = await createWork(join(directory.path, 'work'));
  for (let turn = 0; turn < 4; turn++) {
    const server = servers[(turn % 2) as 0 | 1];
    const other = servers[((turn + 1) % 2) as 0 | 1];
    const commit = await commitFiles(work, { 'server.js': `console.log(${turn})\n` });

    const pushed = await git(work, 'push', `${server.url}/git/clock/app.git`, 'main');

    expect(pushed).toMatchObject({ code: 0, stderr: expect.stringContaining('/clock/app:main') as string });
    expect(
      (await gitOk(work, 'ls-remote', `${other.url}/git/clock/app.git`, 'refs/heads/main')).slice(0, 40),
    ).toBe(commit);
    const [byBranch, byCommit] = await Promise.all(
      ['main', commit.slice(0, 12)].map((tag) =>
        https[((turn + 1) % 2) as 0 | 1].send('GET', `/v2/clock/app/manifests/${tag}`),
      ),
    );
    expect(byBranch?.status).toBe(200);
    expect(byBranch?.headers['docker-content-digest']).toBe(byCommit?.headers['docker-content-digest']);
  }

  const listed = await https[0].send('GET', '/api/v1/builds');
  const { builds } = JSON.parse(listed.body.toString()) as { builds: { state: string; createdAt: string }[] };
  expect(builds.map(({ state }) => state)).toEqual(['succeeded', 'succeeded', 'succeeded', 'succeeded']);
  // Else the clocks did not differ and this would show nothing.
  const times = builds.map(({ createdAt }) => Date.parse(createdAt));
  expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(hour);
});
