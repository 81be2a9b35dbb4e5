import { createHash, randomBytes } from 'node:crypto';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import { createPullReader, type PullReader } from './pull-reader.ts';

// A load client as a process of its own, so that its CPU time is nobody's of those who are measured. Reads one line of JSON (`LoadPlan`),
// prepares, says `ready`, waits for a line, runs, and says `LoadResult` as JSON.

export interface LoadPlan {
  readonly url: string;
  readonly action: 'push' | 'pull';
  /** How many work at the same time. */
  readonly clients: number;
  /** Pushes or pulls in all. */
  readonly operations: number;
  /** Bytes of one blob. */
  readonly size: number;
  readonly repository: string;
  /** What to pull, in turn; a push makes fresh content. */
  readonly digests?: readonly string[];
}

export interface LoadResult {
  readonly seconds: number;
  /** Of each operation, in seconds. */
  readonly latencies: readonly number[];
  /** What was pushed. */
  readonly digests: readonly string[];
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const plan = JSON.parse((await lines.next()).value as string) as LoadPlan;
// One shared body; what makes each blob another one is its first bytes.
const body = randomBytes(plan.size - 32);
const fresh = Array.from({ length: plan.action === 'push' ? plan.operations : 0 }, () => {
  const head = randomBytes(32);
  return { head, digest: `sha256:${createHash('sha256').update(head).update(body).digest('hex')}` };
});
const agent = new Agent({ keepAlive: true });
process.stdout.write('ready\n');
await lines.next();

let next = 0;
const latencies: number[] = [];
const begun = performance.now();
await Promise.all(
  Array.from({ length: plan.clients }, async () => {
    const reader = createPullReader();
    for (let index = next++; index < plan.operations; index = next++) {
      const start = performance.now();
      await (plan.action === 'push' ? push(index) : pull(index, reader));
      latencies.push((performance.now() - start) / 1000);
    }
  }),
);
const result: LoadResult = {
  seconds: (performance.now() - begun) / 1000,
  latencies,
  digests: fresh.map(({ digest }) => digest),
};
process.stdout.write(`${JSON.stringify(result)}\n`);
process.exit(0);

/** As docker does: POST, one PATCH of unknown length, an empty PUT. */
async function push(index: number): Promise<void> {
  const blob = fresh[index];
  if (blob === undefined) throw new Error('no content was prepared');
  const opened = await call('POST', `/v2/${plan.repository}/blobs/uploads/`, 202);
  const written = await call('PATCH', opened, 202, (message) => {
    message.write(blob.head);
    for (let at = 0; at < body.length; at += 1024 * 1024) message.write(body.subarray(at, at + 1024 * 1024));
  });
  const end = new URL(written, plan.url);
  end.searchParams.set('digest', blob.digest);
  await call('PUT', end.href, 201);
}

/** As every client does: follows a redirect to wherever the bytes are. */
async function pull(index: number, reader: PullReader): Promise<void> {
  const digests = plan.digests ?? [];
  let url = new URL(`/v2/${plan.repository}/blobs/${digests[index % digests.length]}`, plan.url);
  for (let hops = 0; hops < 3; hops++) {
    const { status, bytes, location } = await reader.get(url);
    if (status === 200 && bytes === plan.size) return;
    if (status < 300 || status > 399 || location === undefined) {
      throw new Error(`GET ${url.pathname} answered ${status} with ${bytes} bytes`);
    }
    url = new URL(location, url);
  }
  throw new Error('too many redirects');
}

/** Answers with the Location. */
async function call(
  method: string,
  path: string,
  status: number,
  write?: (message: ClientRequest) => void,
): Promise<string> {
  const response = await send(method, new URL(path, plan.url), write);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  if (response.statusCode !== status) {
    throw new Error(`${method} ${path} answered ${response.statusCode}: ${Buffer.concat(chunks).toString()}`);
  }
  return response.headers.location ?? '';
}

function send(method: string, url: URL, write?: (message: ClientRequest) => void): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers: Record<string, string> =
      write === undefined ? {} : { 'content-type': 'application/octet-stream' };
    if (write === undefined && method !== 'GET') headers['content-length'] = '0';
    const message = request(url, { method, agent, headers });
    message.once('response', resolve);
    message.once('error', reject);
    write?.(message);
    message.end();
  });
}
