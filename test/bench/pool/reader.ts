import { createHash } from 'node:crypto';
import { Agent, type IncomingMessage, request } from 'node:http';

// `node reader.ts JSON`: a plain reader of an image, started on a node. Waits for a byte on stdin, so that all nodes begin together; prints what it
// saw as one line of JSON. It verifies every layer and stores nothing.

export interface ReaderTask {
  /** `host:port` over plain HTTP. */
  readonly host: string;
  readonly repository: string;
  readonly reference: string;
  /** Undefined: as anonymous. */
  readonly account?: { readonly username: string; readonly password: string };
}

export interface ReaderResult {
  readonly seconds: number;
  readonly layers: readonly ReadLayer[];
  /** Why it gave up. */
  readonly error?: string;
}

export interface ReadLayer {
  readonly digest: string;
  readonly bytes: number;
  readonly firstByteSeconds: number;
  readonly correct: boolean;
}

const agent = new Agent({ keepAlive: true });
const manifestTypes = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

if (process.argv[2] !== undefined) {
  const task = JSON.parse(process.argv[2]) as ReaderTask;
  process.stdout.write('ready\n');
  process.stdin.once('data', () => {
    void readImage(task).then((result) => {
      process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
    });
  });
}

async function readImage(task: ReaderTask): Promise<ReaderResult> {
  const started = performance.now();
  const seconds = (): number => (performance.now() - started) / 1000;
  try {
    const base = `http://${task.host}/v2/${task.repository}`;
    const authorization = await authorize(task);
    const manifest = await get(`${base}/manifests/${task.reference}`, {
      ...authorization,
      accept: manifestTypes,
    });
    const { layers } = JSON.parse((await body(manifest)).toString()) as { layers: { digest: string }[] };
    const read = layers.map(({ digest }) => readLayer(`${base}/blobs/${digest}`, digest, authorization));
    return { layers: await Promise.all(read), seconds: seconds() };
  } catch (error) {
    return { layers: [], seconds: seconds(), error: String(error) };
  }
}

async function readLayer(url: string, digest: string, headers: Record<string, string>): Promise<ReadLayer> {
  const started = performance.now();
  const response = await get(url, headers);
  const hash = createHash('sha256');
  let firstByteSeconds: number | undefined;
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    firstByteSeconds ??= (performance.now() - started) / 1000;
    bytes += chunk.length;
    hash.update(chunk);
  }
  const correct = `sha256:${hash.digest('hex')}` === digest;
  return { digest, bytes, firstByteSeconds: firstByteSeconds ?? 0, correct };
}

/** As docker does: the ping's challenge says how. */
async function authorize({ host, repository, account }: ReaderTask): Promise<Record<string, string>> {
  if (account === undefined) return {};
  const basic = `Basic ${Buffer.from(`${account.username}:${account.password}`).toString('base64')}`;
  const ping = await open(`http://${host}/v2/`, {});
  await body(ping);
  const challenge = ping.headers['www-authenticate'];
  if (challenge === undefined) return {};
  const realm = /realm="([^"]+)"/.exec(challenge)?.[1];
  if (!/^bearer /i.test(challenge) || realm === undefined) return { authorization: basic };
  const url = new URL(realm);
  const service = /service="([^"]+)"/.exec(challenge)?.[1];
  if (service !== undefined) url.searchParams.set('service', service);
  url.searchParams.set('scope', `repository:${repository}:pull`);
  const answer = JSON.parse((await body(await get(url.href, { authorization: basic }))).toString()) as {
    token: string;
  };
  return { authorization: `Bearer ${answer.token}` };
}

async function get(url: string, headers: Record<string, string>): Promise<IncomingMessage> {
  const response = await open(url, headers);
  if (response.statusCode === 200) return response;
  const text = await body(response);
  throw new Error(`${url} answered ${response.statusCode}: ${text.toString().slice(0, 300)}`);
}

function open(url: string, headers: Record<string, string>): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request(url, { agent, headers }, resolve).once('error', reject).end();
  });
}

async function body(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
