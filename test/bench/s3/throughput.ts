import type { S3Bench } from './bench.ts';
import { inTurn, prepareLoad } from './observe.ts';
import type { S3Case } from './report.ts';
import type { Side } from './sides.ts';

const size = 10 * 1024 * 1024;
const clients = 50;

/** Fresh 10 MiB blobs from 50 clients at once, as docker pushes them. */
export async function pushes(bench: S3Bench): Promise<S3Case> {
  const operations = bench.quick ? 50 : 150;
  const results = await inTurn({ rounds: bench.rounds, warmUp: 1 }, bench.sides, async (side) => {
    const repository = 'bench/push';
    const load = await prepareLoad({ url: side.url, action: 'push', clients, operations, size, repository });
    const observation = await bench.observer.observe(side, operations, async () => {
      const { seconds } = await load.run();
      return (operations * size) / 1e6 / seconds;
    });
    await bench.empty(side, 'bench/push');
    return observation;
  });
  return {
    name: `push of 10 MiB blobs, ${clients} clients, ${operations} blobs a round`,
    unit: 'MB/s',
    better: 'higher',
    results,
    promise: { over: 'docker-registry', ratio: 2 },
  };
}

/** The same 100 blobs of 10 MiB again and again from 50 clients; a redirect is followed. */
export async function pulls(bench: S3Bench, sides: readonly Side[], how = ''): Promise<S3Case> {
  const operations = bench.quick ? 50 : 300;
  const repository = 'bench/pull';
  const digests = new Map<string, readonly string[]>();
  for (const side of sides) {
    const load = await prepareLoad({
      url: side.url,
      action: 'push',
      clients: 8,
      operations: bench.quick ? 20 : 100,
      size,
      repository,
    });
    digests.set(side.name, (await load.run()).digests);
  }
  const results = await inTurn({ rounds: bench.rounds, warmUp: 1 }, sides, async (side) => {
    const load = await prepareLoad({
      url: side.url,
      action: 'pull',
      clients,
      operations,
      size,
      repository,
      digests: digests.get(side.name) ?? [],
    });
    return bench.observer.observe(side, operations, async () => {
      const { seconds } = await load.run();
      return (operations * size) / 1e6 / seconds;
    });
  });
  return {
    name: `pull of 10 MiB blobs, ${clients} clients, ${operations} pulls a round${how}`,
    unit: 'MB/s',
    better: 'higher',
    results,
    promise: { over: sides[1]?.name ?? '', ratio: 2 },
  };
}
