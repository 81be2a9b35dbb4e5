import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { median } from '../measure.ts';
import type { S3Bench } from './bench.ts';
import { inTurn, type Observation } from './observe.ts';
import { number, type S3Case } from './report.ts';
import type { Side } from './sides.ts';

const mebibyte = 1024 * 1024;

/**
 * Seconds from a blob's last byte leaving the client to the 201 of its final PUT: the time in which nothing moves on the person's screen.
 * One client, one blob at a time.
 */
export async function commits(bench: S3Bench): Promise<S3Case[]> {
  const sizes = bench.quick ? [64, 256] : [64, 512, 2048];
  const repository = 'bench/commit';
  const cases: S3Case[] = [];
  for (const megabytes of sizes) {
    bench.say(`last byte to 201, ${megabytes} MiB …`);
    const results = await inTurn(
      { rounds: bench.rounds, warmUp: megabytes === sizes[0] ? 1 : 0 },
      bench.sides,
      async (side) => {
        const content = freshContent(megabytes * mebibyte);
        const observation = await bench.observer.observe(side, 1, () => pushTimed(side, repository, content));
        await bench.empty(side, repository);
        return observation;
      },
    );
    cases.push({ name: `last byte to 201, ${megabytes} MiB`, unit: 's', better: 'lower', results });
  }
  return cases.map((each, index) =>
    index === cases.length - 1 ? { ...each, notes: growth(sizes, cases) } : each,
  );
}

/** How much longer the largest blob takes than the smallest, for each side. */
function growth(sizes: readonly number[], cases: readonly S3Case[]): string[] {
  const middle = (observations: readonly Observation[] | undefined): number =>
    median((observations ?? []).map(({ value }) => value));
  const [smallest, largest] = [cases[0], cases.at(-1)];
  return [...(smallest?.results.keys() ?? [])].map((side, index) => {
    const ratio = middle(largest?.results.get(side)) / middle(smallest?.results.get(side));
    const verdict = index === 0 ? ` (promise ≤ 1.5: ${ratio <= 1.5 ? 'reached' : 'missed'})` : '';
    return `${side}: ${sizes.at(-1)} MiB takes ${number(ratio)} times as long as ${sizes[0]} MiB${verdict}.`;
  });
}

interface Content {
  readonly digest: string;
  readonly pieces: () => Generator<Buffer>;
}

/** Many bytes of which few are kept: one block, behind a stamp and its number. */
function freshContent(bytes: number): Content {
  const block = randomBytes(mebibyte);
  function* pieces(): Generator<Buffer> {
    for (let index = 0; index * mebibyte < bytes; index++) {
      const piece = Buffer.from(block);
      piece.writeUInt32LE(index);
      yield piece;
    }
  }
  const hash = createHash('sha256');
  for (const piece of pieces()) hash.update(piece);
  return { digest: `sha256:${hash.digest('hex')}`, pieces };
}

async function pushTimed(side: Side, repository: string, content: Content): Promise<number> {
  const opened = await answered(side, 'POST', `/v2/${repository}/blobs/uploads/`, 202);
  const message = request(new URL(opened, side.url), {
    method: 'PATCH',
    agent: false,
    headers: { 'content-type': 'application/octet-stream' },
  });
  const response = once(message, 'response') as Promise<[IncomingMessage]>;
  for (const piece of content.pieces()) if (!message.write(piece)) await once(message, 'drain');
  // `finish`: the system has taken the last byte.
  message.end();
  await once(message, 'finish');
  const last = performance.now();
  const [patched] = await response;
  patched.resume();
  if (patched.statusCode !== 202) throw new Error(`PATCH answered ${patched.statusCode}`);
  const end = new URL(patched.headers.location ?? '', side.url);
  end.searchParams.set('digest', content.digest);
  await answered(side, 'PUT', end.href, 201);
  return (performance.now() - last) / 1000;
}

/** Answers with the Location. */
async function answered(side: Side, method: string, path: string, status: number): Promise<string> {
  const message = request(new URL(path, side.url), {
    method,
    agent: false,
    headers: { 'content-length': '0' },
  });
  message.end();
  const [response] = (await once(message, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  if (response.statusCode !== status) {
    throw new Error(`${method} ${path} answered ${response.statusCode}: ${Buffer.concat(chunks).toString()}`);
  }
  return response.headers.location ?? '';
}
