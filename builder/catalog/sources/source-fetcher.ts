import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../../core/user-error.ts';
import type { BaseFileSource } from '../base-file.ts';
import { downloadNpmPackage, type NpmPackage, packNpmPackage } from '../npm/npm-package.ts';
import { useGitArchive } from './fetch-git.ts';
import { fetchMavenArtifacts, parseMavenCoordinate } from './fetch-maven.ts';
import type { KeptSources } from './kept-sources.ts';
import { type CatalogMirrors, mirrorAddresses } from './mirror-addresses.ts';
import { createSourceCache, type ExpectedFile, hashFile, type SourceCache } from './source-cache.ts';
import { createSourceClient, type SourceClient } from './source-client.ts';

export interface SourceFetcherOptions {
  /** Keeps what was fetched between builds; may be removed at any time. */
  readonly folder: string;
  readonly mirrors: CatalogMirrors;
  /** Asked before the rest of the world. Default: there is none. */
  readonly store?: Pick<KeptSources, 'open' | 'openTagged'>;
  /** Nothing but the cache and `store` is asked. Default false. */
  readonly offline?: boolean;
  readonly env?: Readonly<Record<string, string | undefined>>;
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

interface Wanted {
  readonly source: BaseFileSource;
  readonly expected: ExpectedFile;
  /** What was tried in vain, for the person who has to do something about it. */
  readonly attempts: string[];
  file?: string;
}

/** Places of one kind asked at the same time. */
const atOnce = 4;

/** Asks in this order: the cache, our own store, the catalog's mirrors, the source's own place, its own mirrors. */
export function createSourceFetcher(options: SourceFetcherOptions): SourceFetcher {
  const cache = createSourceCache(join(options.folder, 'sources'));
  const { store } = options;
  // Two mvn in one local repository damage it.
  let mavenTurn: Promise<unknown> = Promise.resolve();
  const clients = new Set<SourceClient>();

  async function fetchAll(
    wanted: readonly Wanted[],
    signal: AbortSignal,
    progress: () => void,
  ): Promise<void> {
    const each = async (label: string, find: (one: Wanted) => Promise<string | undefined>): Promise<void> => {
      await forEachAtOnce(
        wanted.filter(({ file }) => file === undefined),
        async (one) => {
          await attempt(one, label, signal, () => find(one));
          if (one.file !== undefined) progress();
        },
      );
    };
    await each('the cache', (one) => cache.find(one.expected));
    if (store !== undefined) {
      await each('our own store', async ({ expected }) => {
        const body = await store.open(expected.sha256);
        return body === undefined ? undefined : cache.keep(expected, body, signal);
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
    const context: OriginContext = { cache, client, folder: options.folder, signal };
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

interface OriginContext {
  readonly cache: SourceCache;
  readonly client: SourceClient;
  readonly folder: string;
  readonly signal: AbortSignal;
}

/** What `find` gives, or a line about why it failed. An abort is no attempt, and neither are faults of this machine's disk. */
async function attempt(
  one: Wanted,
  label: string,
  signal: AbortSignal,
  find: () => Promise<string | undefined>,
): Promise<void> {
  try {
    const file = await find();
    if (file !== undefined) one.file = file;
  } catch (error) {
    signal.throwIfAborted();
    if (['ENOSPC', 'EACCES', 'EROFS'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    const { message } = error as Error;
    one.attempts.push(message.startsWith(label) ? message : `${label}: ${message}`);
  }
}

async function fromAddresses(
  one: Wanted,
  addresses: readonly string[],
  { cache, client, folder, signal }: OriginContext,
): Promise<string | undefined> {
  for (const address of addresses) {
    await attempt(one, address, signal, async () => {
      const { git } = one.source;
      if (git === undefined) return cache.keep(one.expected, await client.get(address), signal);
      return fromGit(one, { url: address, commit: git.commit }, { cache, client, folder, signal }, true);
    });
    if (one.file !== undefined) return one.file;
  }
  return undefined;
}

async function fromOrigin(one: Wanted, context: OriginContext): Promise<string | undefined> {
  const { url, npm, git } = one.source;
  if (url !== undefined) {
    await attempt(one, url, context.signal, async () =>
      context.cache.keep(one.expected, await context.client.get(url), context.signal),
    );
  } else if (git !== undefined) {
    await attempt(one, git.url, context.signal, () => fromGit(one, git, context, false));
  } else if (npm !== undefined) {
    await attempt(one, npm, context.signal, () =>
      inWorkFolder(context.folder, async (work) => {
        const packed = await packNpmPackage(npm, work, context.signal);
        return context.cache.keep(one.expected, createReadStream(packed), context.signal);
      }),
    );
  }
  return one.file;
}

function fromGit(
  one: Wanted,
  source: { readonly url: string; readonly commit: string },
  { cache, folder, signal }: OriginContext,
  trusted: boolean,
): Promise<string> {
  return inWorkFolder(folder, (work) =>
    useGitArchive(
      { url: source.url, revision: source.commit },
      { folder: work, trusted, signal },
      (archive) => cache.keep(one.expected, archive, signal),
    ),
  );
}

/** One run of mvn for all that are missing still. */
async function fromMaven(wanted: readonly Wanted[], { cache, folder, signal }: OriginContext): Promise<void> {
  const missing = wanted.filter(({ file, source }) => file === undefined && source.maven !== undefined);
  if (missing.length === 0) return;
  await inWorkFolder(folder, async (work) => {
    let files: readonly string[];
    try {
      files = await fetchMavenArtifacts(
        missing.map(({ source }) => parseMavenCoordinate(source.maven ?? '')),
        { folder: work, localRepository: join(folder, 'maven'), signal },
      );
    } catch (error) {
      signal.throwIfAborted();
      for (const one of missing) one.attempts.push(`${one.source.maven}: ${(error as Error).message}`);
      return;
    }
    for (const [index, one] of missing.entries()) {
      await attempt(one, one.source.maven ?? '', signal, () =>
        cache.keep(one.expected, createReadStream(files[index] ?? ''), signal),
      );
    }
  });
}

async function inWorkFolder<T>(folder: string, use: (work: string) => Promise<T>): Promise<T> {
  await mkdir(folder, { recursive: true });
  const work = await mkdtemp(join(folder, 'fetch-'));
  try {
    return await use(work);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
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
