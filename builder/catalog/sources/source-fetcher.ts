import { join } from 'node:path';
import { UserError } from '../../../core/user-error.ts';
import type { BaseFileSource } from '../base-file.ts';
import { downloadNpmPackage, type NpmPackage } from '../npm/npm-package.ts';
import type { KeptSources } from './kept-sources.ts';
import { type CatalogMirrors, mirrorAddresses } from './mirror-addresses.ts';
import { createSourceCache, hashFile } from './source-cache.ts';
import { createSourceClient, type SourceClient } from './source-client.ts';
import {
  attempt,
  fromAddresses,
  fromMaven,
  fromOrigin,
  type OriginContext,
  type Wanted,
} from './source-origins.ts';

export interface SourceFetcherOptions {
  /** Keeps what was fetched between builds; may be removed at any time. */
  readonly folder: string;
  readonly mirrors: CatalogMirrors;
  /** Asked before the rest of the world. Default: there is none. */
  readonly store?: Pick<KeptSources, 'open' | 'openTagged'>;
  /** Nothing but the cache and `store` is asked. Default false. */
  readonly offline?: boolean;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds for one file from one place. Default 30 minutes. */
  readonly attemptMs?: number;
}

export interface FetchedSource {
  readonly source: BaseFileSource;
  /** Its path in the cache; read only. */
  readonly file: string;
}

export interface SourceFetcher {
  /**
   * All files of `sources`, in their order. Errors: UserError that names each file that could not be had, and what every place that
   * was asked for it answered.
   */
  fetch(
    sources: readonly BaseFileSource[],
    options: { readonly signal: AbortSignal; readonly onProgress?: (done: number, total: number) => void },
  ): Promise<readonly FetchedSource[]>;
  /** A package of npm with its own kind of checksum, and the file's. Errors: UserError. */
  npm(wanted: NpmPackage, signal: AbortSignal): Promise<{ readonly file: string; readonly sha256: string }>;
  close(): void;
}

/** Places of one kind asked at the same time. */
const atOnce = 4;
/** Milliseconds for one file from one place: 4 GiB at 2.5 MB/s. A server that drips bytes is as good as none. */
const longestAttempt = 30 * 60_000;

/** Asks in this order: the cache, our own store, the catalog's mirrors, the source's own place, its own mirrors. */
export function createSourceFetcher(options: SourceFetcherOptions): SourceFetcher {
  const cache = createSourceCache(join(options.folder, 'sources'));
  const { store, attemptMs = longestAttempt } = options;
  // Two mvn in one local repository damage it.
  let mavenTurn: Promise<unknown> = Promise.resolve();
  const clients = new Set<SourceClient>();

  async function fetchAll(
    wanted: readonly Wanted[],
    signal: AbortSignal,
    progress: () => void,
  ): Promise<void> {
    const each = async (
      label: string,
      find: (one: Wanted, timed: AbortSignal) => Promise<string | undefined>,
    ): Promise<void> => {
      await forEachAtOnce(
        wanted.filter(({ file }) => file === undefined),
        async (one) => {
          await attempt(one, label, { signal, attemptMs }, (timed) => find(one, timed));
          if (one.file !== undefined) progress();
        },
      );
    };
    await each('the cache', (one) => cache.find(one.expected));
    if (store !== undefined) {
      await each('our own store', async ({ expected }, timed) => {
        const body = await store.open(expected.sha256);
        return body === undefined ? undefined : cache.keep(expected, body, timed);
      });
    }
    if (options.offline === true) return;
    const own = wanted.flatMap(({ source }) => source.mirrors ?? []);
    const trusted = [...own, ...Object.values(options.mirrors).flat()];
    const client = createSourceClient({
      trusted,
      ...(options.env === undefined ? {} : { env: options.env }),
    });
    clients.add(client);
    const context: OriginContext = { cache, client, folder: options.folder, signal, attemptMs };
    try {
      await each('', (one) => fromAddresses(one, mirrorAddresses(one.source, options.mirrors), context));
      const turn = mavenTurn.then(() => fromMaven(wanted, context));
      mavenTurn = turn.catch(() => {});
      await turn;
      await each('', (one) => fromOrigin(one, context));
      await each('', (one) => fromAddresses(one, one.source.mirrors ?? [], context));
    } finally {
      client.close();
      clients.delete(client);
    }
  }

  return {
    async fetch(sources, { signal, onProgress }) {
      const wanted = sources.map((source): Wanted => {
        if (source.sha256 === undefined) {
          throw new UserError(
            `the source ${source.name} has no sha256 yet, and nothing unchecked enters an image: fetch it yourself and write down what sha256sum prints`,
          );
        }
        const size = source.size === undefined ? {} : { size: source.size };
        return { source, expected: { sha256: source.sha256, ...size }, attempts: [] };
      });
      const progress = (): void =>
        onProgress?.(wanted.filter(({ file }) => file !== undefined).length, wanted.length);
      progress();
      await fetchAll(wanted, signal, progress);
      const missing = wanted.filter(({ file }) => file === undefined);
      if (missing.length > 0) throw new UserError(missing.map((one) => explain(one, options)).join('\n'));
      return wanted.map(({ source, file = '' }) => ({ source, file }));
    },
    async npm(wanted, signal) {
      const file = await downloadNpmPackage(wanted, {
        folder: join(options.folder, 'npm'),
        signal,
        offline: options.offline === true,
        ...(store === undefined ? {} : { kept: (tag: string) => store.openTagged(tag) }),
      });
      return { file, sha256: await hashFile(file) };
    },
    close() {
      for (const client of clients) client.close();
    },
  };
}

function explain({ source, attempts }: Wanted, { offline, store }: SourceFetcherOptions): string {
  const lines = attempts.map((line) => `  ${line.replaceAll('\n', '\n  ')}`);
  if (offline === true) {
    const places = store === undefined ? 'the cache' : 'the cache or in our own store';
    lines.push(`  it is not in ${places}; where the network is open, "brickyard base mirror" keeps it there`);
  }
  return [`the source ${source.name} could not be fetched:`, ...lines].join('\n');
}

async function forEachAtOnce<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await run(item);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
}
