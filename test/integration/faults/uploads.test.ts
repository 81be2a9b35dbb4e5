import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHttp, type Http } from '../../helpers/fault-http.ts';
import { type Content, createContent, createRandom } from '../../helpers/fault-random.ts';
import { childrenOf, processesOfGroup, restartServer } from '../../helpers/fault-server.ts';
import { type FaultUpload, planUpload, resumeUpload } from '../../helpers/fault-upload.ts';
import { freePort } from '../../helpers/free-port.ts';
import { waitFor } from '../../helpers/process.ts';
import { startServer, type TestServer } from '../../helpers/server.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

const repository = 'faults/uploads';
const env = { BRICKYARD_PROCESSES: '2' };
const megabyte = 1024 * 1024;

async function begin(http: Http, content: Content): Promise<FaultUpload> {
  const upload = planUpload(repository, content, createRandom(content.name));
  const started = await http.send('POST', `/v2/${repository}/blobs/uploads/`, { body: Buffer.alloc(0) });
  expect(started.status).toBe(202);
  upload.location = started.headers.location;
  return upload;
}

/** A PATCH of the whole content, of which the server has begun to read; the caller writes the bytes. */
async function openPatch(base: string, upload: FaultUpload): Promise<ClientRequest> {
  const message = request(new URL(upload.location ?? '', base), {
    method: 'PATCH',
    agent: false,
    headers: {
      'content-type': 'application/octet-stream',
      'content-length': upload.content.size,
      expect: '100-continue',
    },
  });
  message.flushHeaders();
  await once(message, 'continue');
  return message;
}

async function offsetOf(http: Http, upload: FaultUpload): Promise<number> {
  const { status, headers } = await http.send('GET', upload.location ?? '');
  expect(status).toBe(204);
  const last = Number(/^0-(\d+)$/.exec(String(headers.range))?.[1]);
  return last === 0 ? 0 : last + 1;
}

describe('uploads over two processes', () => {
  let server: TestServer;
  let http: Http;
  beforeAll(async () => {
    server = await startServer({ env });
    http = createHttp(() => server.url);
  });
  afterAll(async () => {
    http.close();
    await server.remove();
  });

  it('keeps what arrived of a body whose client left in the middle, and goes on from there', async () => {
    const upload = await begin(http, createContent('cut', 6 * megabyte));
    const patch = await openPatch(server.url, upload);
    patch.on('error', () => {});
    await new Promise<void>((resolve) => patch.write(upload.content.bytes(0, 3 * megabyte), () => resolve()));
    patch.socket?.end();

    const offset = await waitFor(async () => (await offsetOf(http, upload)) || undefined, {
      what: 'an offset',
    });

    expect(offset).toBeLessThanOrEqual(3 * megabyte);
    expect(await resumeUpload(http, upload)).toBe(true);
    const read = await http.send('GET', `/v2/${repository}/blobs/${upload.content.digest}`);
    expect(read.body.equals(upload.content.bytes())).toBe(true);
  });

  it('lets one of two writers win, whichever processes they reach, and tells the other where the upload stands', async () => {
    const two = [createHttp(() => server.url), createHttp(() => server.url)] as const;
    for (let round = 0; round < 12; round++) {
      const upload = await begin(http, createContent('unused', 1));
      const contents = [0, 1].map((writer) =>
        createContent(`writer ${writer} of ${round}`, megabyte + writer),
      );
      const answers = await Promise.all(
        contents.map((content, writer) =>
          two[writer as 0 | 1].send('PATCH', upload.location ?? '', {
            headers: { 'content-range': `0-${content.size - 1}` },
            body: content.bytes(),
          }),
        ),
      );

      expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 416]);
      const winner = contents[answers.findIndex(({ status }) => status === 202)] as Content;
      const loser = answers.find(({ status }) => status === 416);
      expect(loser?.headers.location).toBe(upload.location);
      const end = await http.send('PUT', `${upload.location}?digest=${winner.digest}`, {
        body: Buffer.alloc(0),
      });
      expect(end.status).toBe(201);
      const read = await http.send('GET', `/v2/${repository}/blobs/${winner.digest}`);
      expect(read.body.equals(winner.bytes())).toBe(true);
    }
    for (const each of two) each.close();
  });

  it('gives a connection that a dying process had not taken yet to another one', async () => {
    for (let round = 0; round < 4; round++) {
      const victim = (
        await waitFor(
          async () => {
            const serving = (await childrenOf(server)).filter(({ kind }) => kind === 'http');
            return serving.length === 2 && serving;
          },
          { what: 'both processes' },
        )
      ).at(round % 2);
      // Stopped, it takes no connection, and the supervisor cannot know.
      process.kill(victim?.pid ?? 0, 'SIGSTOP');
      const asked = Array.from({ length: 6 }, () => {
        const one = createHttp(() => server.url, 20_000);
        return one.send('GET', '/v2/').finally(() => one.close());
      });
      await Promise.race(asked);
      process.kill(victim?.pid ?? 0, 'SIGKILL');

      expect((await Promise.all(asked)).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200]);
    }
  });
});

it('ends the connections of its only process when that dies, and serves again on the same port', async () => {
  const server = await startServer({ port: await freePort(), env: { BRICKYARD_PROCESSES: '1' } });
  const http = createHttp(() => server.url);
  try {
    const [victim] = (await childrenOf(server)).filter(({ kind }) => kind === 'http');
    process.kill(victim?.pid ?? 0, 'SIGSTOP');
    const sockets = Array.from({ length: 4 }, () => connect(server.port, '127.0.0.1').on('error', () => {}));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const closed = sockets.map((socket) => once(socket.resume(), 'close'));
    process.kill(victim?.pid ?? 0, 'SIGKILL');

    await Promise.all(closed);
    const answer = await waitFor(() => http.send('GET', '/v2/').catch(() => undefined), {
      what: 'the next process',
    });
    expect(answer.status).toBe(200);
  } finally {
    http.close();
    await server.remove();
  }
});

describe('a server that is asked to stop', () => {
  let directory: TempDirectory;
  beforeAll(async () => {
    directory = await createTempDirectory('drain');
  });
  afterAll(() => directory.remove());

  it('lets an upload that is under way end', async () => {
    const server = await startServer({ data: directory.path, env });
    const http = createHttp(() => server.url);
    const upload = await begin(http, createContent('drained', 4 * megabyte));
    const patch = await openPatch(server.url, upload);
    const answered = once(patch, 'response') as Promise<[IncomingMessage]>;
    patch.write(upload.content.bytes(0, megabyte));
    const stopped = server.stop();
    await refusesConnections(server.url);

    patch.end(upload.content.bytes(megabyte));

    const [response] = await answered;
    response.resume();
    expect([response.statusCode, response.headers.range]).toEqual([202, `0-${4 * megabyte - 1}`]);
    await stopped;
    http.close();
    const next = await restartServer({ data: directory.path, env });
    const again = createHttp(() => next.url);
    expect(await offsetOf(again, upload)).toBe(4 * megabyte);
    expect(await resumeUpload(again, upload)).toBe(true);
    again.close();
    await next.stop();
  });

  it('cuts an upload that takes too long, keeps its bytes, and the next server goes on with it', async () => {
    const server = await startServer({ data: directory.path, env });
    const http = createHttp(() => server.url);
    const upload = await begin(http, createContent('stalled', 4 * megabyte));
    const patch = await openPatch(server.url, upload);
    const cut = once(patch, 'error');
    patch.write(upload.content.bytes(0, megabyte));

    await server.stop();

    await cut;
    http.close();
    expect(await processesOfGroup(server.process.pid ?? 0)).toEqual([]);
    const next = await restartServer({ data: directory.path, env });
    const again = createHttp(() => next.url);
    expect(await offsetOf(again, upload)).toBeGreaterThan(0);
    expect(await resumeUpload(again, upload)).toBe(true);
    again.close();
    await next.stop();
  });
});

async function refusesConnections(url: string): Promise<void> {
  await waitFor(
    async () => {
      const probe = createHttp(() => url, 5_000);
      try {
        await probe.send('GET', '/v2/');
        return false;
      } catch {
        return true;
      } finally {
        probe.close();
      }
    },
    { what: 'the server has stopped listening' },
  );
}
