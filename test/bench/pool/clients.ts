import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import type { Place } from '../../helpers/network-lab.ts';
import type { BenchImage } from './image.ts';
import type { Account } from './origin.ts';
import type { ReaderResult, ReaderTask } from './reader.ts';

/** From where the nodes pull. */
export interface PullTarget {
  readonly host: string;
  readonly repository: string;
  readonly reference: string;
  /** Undefined: as anonymous. */
  readonly account?: Account;
}

/** What the nodes saw when all of them pulled at once. */
export interface Herd {
  /** Of each node, from the common start. */
  readonly seconds: readonly number[];
  /** From asking for a layer to its first byte, of all nodes and layers; undefined: the client does not tell. */
  readonly firstByteSeconds?: readonly number[];
  /** Layers that arrived whole and right, of all nodes together. */
  readonly correctLayers: number;
  /** What went wrong, one line each. */
  readonly failures: readonly string[];
}

export type ClientKind = 'readers' | 'skopeo';

const readerProgram = resolve(import.meta.dirname, 'reader.ts');
const pullTimeoutMs = 1_800_000;

/** All `nodes` at once; what they store goes to `memory`. A client that fails is told of, and the others go on. */
export function pullAtOnce(
  kind: ClientKind,
  nodes: readonly Place[],
  options: { target: PullTarget; image: BenchImage; memory: string },
): Promise<Herd> {
  return kind === 'readers' ? readAtOnce(nodes, options.target) : copyAtOnce(nodes, options);
}

async function readAtOnce(nodes: readonly Place[], target: PullTarget): Promise<Herd> {
  const readers = await Promise.all(nodes.map((node) => startReader(node, target)));
  const results = await Promise.all(readers.map((go) => go()));
  const layers = results.flatMap((result) => result.layers);
  return {
    seconds: results.map(({ seconds }) => seconds),
    firstByteSeconds: layers.map(({ firstByteSeconds }) => firstByteSeconds),
    correctLayers: layers.filter(({ correct }) => correct).length,
    failures: results.flatMap(({ error }, index) => (error === undefined ? [] : [`node ${index}: ${error}`])),
  };
}

/** One reader that waits; what is returned starts it. */
async function startReader(node: Place, target: PullTarget): Promise<() => Promise<ReaderResult>> {
  const { host, repository, reference, account } = target;
  const task: ReaderTask = { host, repository, reference, ...(account === undefined ? {} : { account }) };
  const [command, ...args] = node.argv(process.execPath, [readerProgram, JSON.stringify(task)]);
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ready = await lines.next();
  if (ready.done === true) throw new Error('a reader did not start');
  return async () => {
    const started = performance.now();
    child.stdin.write('go\n');
    const late = setTimeout(() => child.kill('SIGKILL'), pullTimeoutMs);
    try {
      const line = await lines.next();
      if (line.done !== true) return JSON.parse(line.value) as ReaderResult;
      return { seconds: (performance.now() - started) / 1000, layers: [], error: 'the reader died' };
    } finally {
      clearTimeout(late);
      child.stdin.end();
    }
  };
}

async function copyAtOnce(
  nodes: readonly Place[],
  { target, image, memory }: { target: PullTarget; image: BenchImage; memory: string },
): Promise<Herd> {
  const folder = await mkdtemp(join(memory, 'skopeo-'));
  try {
    const copies = nodes.map(async (node, index) => {
      const place = join(folder, String(index));
      const started = performance.now();
      const { code, stderr } = await node.run(
        'skopeo',
        [
          'copy',
          '--quiet',
          '--src-tls-verify=false',
          ...credentials(target),
          reference(target),
          `dir:${place}`,
        ],
        { timeoutMs: pullTimeoutMs },
      );
      const seconds = (performance.now() - started) / 1000;
      return { seconds, place, failure: code === 0 ? [] : [`node ${index}: ${stderr.trim()}`] };
    });
    const done = await Promise.all(copies);
    let correctLayers = 0;
    for (const { place } of done) correctLayers += await countCorrect(place, image);
    return {
      seconds: done.map(({ seconds }) => seconds),
      correctLayers,
      failures: done.flatMap(({ failure }) => failure),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function credentials({ account }: PullTarget): string[] {
  return account === undefined ? ['--src-no-creds'] : [`--src-creds=${account.username}:${account.password}`];
}

function reference({ host, repository, reference: name }: PullTarget): string {
  return `docker://${host}/${repository}${name.includes(':') ? '@' : ':'}${name}`;
}

/** skopeo verifies, too; this is not its word but ours. */
async function countCorrect(folder: string, image: BenchImage): Promise<number> {
  const names = new Set(await readdir(folder).catch(() => []));
  let correct = 0;
  for (const { digest, bytes } of image.layers) {
    const name = digest.slice('sha256:'.length);
    const file = join(folder, name);
    if (!names.has(name) || (await stat(file)).size !== bytes) continue;
    const hash = createHash('sha256');
    await pipeline(createReadStream(file, { highWaterMark: 1024 * 1024 }), hash);
    if (hash.digest('hex') === name) correct += 1;
  }
  return correct;
}
