import { randomBytes } from 'node:crypto';
import { type clientNames, startClient } from '../../helpers/clients.ts';
import type { Random } from '../../helpers/fault-random.ts';
import type { RunResult } from '../../helpers/process.ts';
import { countOperation, type SoakCounts } from './counts.ts';
import type { SoakHttp } from './transport.ts';

export interface RealClient {
  step(): Promise<void>;
  checkAll(): Promise<void>;
  stop(): Promise<void>;
}

export interface RealClientOptions {
  readonly name: (typeof clientNames)[number];
  /** Of the registry. */
  readonly host: string;
  readonly http: SoakHttp;
  readonly counts: SoakCounts;
  readonly random: Random;
}

const tagCount = 4;
/** A person whose connection breaks runs the command again. */
const mostRuns = 8;

/** A program that people use: makes an image, pushes it, pulls it back, deletes tags. */
export async function startRealClient(options: RealClientOptions): Promise<RealClient> {
  const { name, host, http, counts, random } = options;
  const client = await startClient(name);
  const repository = `real/${name}`;
  const common = { 'common.bin': randomBytes(60_000) };
  /** Tag → digest of the config that it must have. */
  const tags = new Map<string, string>();
  let serial = 0;

  async function again(what: string, command: () => Promise<RunResult>): Promise<boolean> {
    for (let runs = 1; ; runs++) {
      const result = await command();
      if (result.code === 0) return true;
      const text = `${result.stdout}${result.stderr}`.trim().slice(-600);
      const unknown = /unknown|UNKNOWN/.test(text);
      if (unknown || runs === mostRuns) {
        counts.failedPushes.push(`${new Date().toISOString()} ${what}: ${text}`);
        return false;
      }
      counts.transportRetries++;
    }
  }

  async function push(): Promise<void> {
    const image = `image-${serial++}`;
    const config = await client.createImage(image, {
      ...common,
      'own.bin': randomBytes(random.between(1_000, 30_000)),
    });
    const tag = `t${random.below(tagCount)}`;
    const reference = `${host}/${repository}:${tag}`;
    tags.delete(tag);
    if (!(await again(`${name} push ${reference}`, () => client.push(image, reference)))) return;
    tags.set(tag, config);
    counts.realPushes++;
  }

  async function pull(tag: string, config: string): Promise<void> {
    const reference = `${host}/${repository}:${tag}`;
    for (let runs = 1; ; runs++) {
      const result = await client.pull(reference);
      if (result.code === 0) break;
      const text = `${result.stdout}${result.stderr}`.trim().slice(-600);
      if (/unknown|UNKNOWN/.test(text) || runs === mostRuns) {
        counts.losses.push(`${new Date().toISOString()} ${name} pull ${reference}: ${text}`);
        return;
      }
      counts.transportRetries++;
    }
    const pulled = await client.pulledConfig(reference);
    if (pulled !== config) counts.losses.push(`${name} pull ${reference}: config ${pulled}, not ${config}`);
    counts.realPulls++;
  }

  return {
    async step() {
      const known = [...tags];
      const dice = random.below(10);
      if (known.length === 0 || dice < 5) return push();
      const [tag, config] = random.pick(known);
      if (dice < 8) return pull(tag, config);
      tags.delete(tag);
      await http.send('DELETE', `/v2/${repository}/manifests/${tag}`);
      countOperation(counts, 'delete tag');
    },
    async checkAll() {
      for (const [tag, config] of tags) await pull(tag, config);
    },
    stop: () => client.stop(),
  };
}
