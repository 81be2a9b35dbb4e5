import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BaseFileSource } from '../base-file.ts';
import { packNpmPackage } from '../npm/npm-package.ts';
import { useGitArchive } from './fetch-git.ts';
import { fetchMavenArtifacts, parseMavenCoordinate } from './fetch-maven.ts';
import type { ExpectedFile, SourceCache } from './source-cache.ts';
import type { SourceClient } from './source-client.ts';

/** A file on its way. */
export interface Wanted {
  readonly source: BaseFileSource;
  readonly expected: ExpectedFile;
  /** What was tried in vain, for the person who has to do something about it. */
  readonly attempts: string[];
  file?: string;
}

export interface OriginContext {
  readonly cache: SourceCache;
  readonly client: SourceClient;
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly attemptMs: number;
}

/** What `find` gives, or a line about why it failed. An abort is no attempt, and neither are faults of this machine's disk. */
export async function attempt(
  one: Wanted,
  label: string,
  { signal, attemptMs }: Pick<OriginContext, 'signal' | 'attemptMs'>,
  find: (timed: AbortSignal) => Promise<string | undefined>,
): Promise<void> {
  const limit = AbortSignal.timeout(attemptMs);
  try {
    const file = await find(AbortSignal.any([signal, limit]));
    if (file !== undefined) one.file = file;
  } catch (error) {
    signal.throwIfAborted();
    if (['ENOSPC', 'EACCES', 'EROFS'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    const message = limit.aborted ? `not done within ${attemptMs / 1000} s` : (error as Error).message;
    one.attempts.push(message.startsWith(label) ? message : `${label}: ${message}`);
  }
}

export async function fromAddresses(
  one: Wanted,
  addresses: readonly string[],
  context: OriginContext,
): Promise<string | undefined> {
  const { cache, client } = context;
  for (const address of addresses) {
    await attempt(one, address, context, async (signal) => {
      const { git } = one.source;
      if (git === undefined) return cache.keep(one.expected, await client.get(address), signal);
      return fromGit(one, { url: address, commit: git.commit }, { ...context, signal }, true);
    });
    if (one.file !== undefined) return one.file;
  }
  return undefined;
}

export async function fromOrigin(one: Wanted, context: OriginContext): Promise<string | undefined> {
  const { url, npm, git } = one.source;
  if (url !== undefined) {
    await attempt(one, url, context, async (signal) =>
      context.cache.keep(one.expected, await context.client.get(url), signal),
    );
  } else if (git !== undefined) {
    await attempt(one, git.url, context, (signal) => fromGit(one, git, { ...context, signal }, false));
  } else if (npm !== undefined) {
    await attempt(one, npm, context, (signal) =>
      inWorkFolder(context.folder, async (work) => {
        const packed = await packNpmPackage(npm, work, signal);
        return context.cache.keep(one.expected, createReadStream(packed), signal);
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
export async function fromMaven(wanted: readonly Wanted[], context: OriginContext): Promise<void> {
  const { cache, folder, signal } = context;
  const missing = wanted.filter(({ file, source }) => file === undefined && source.maven !== undefined);
  if (missing.length === 0) return;
  await inWorkFolder(folder, async (work) => {
    let files: readonly string[];
    try {
      files = await fetchMavenArtifacts(
        missing.map(({ source }) => parseMavenCoordinate(source.maven ?? '')),
        {
          folder: work,
          localRepository: join(folder, 'maven'),
          signal: AbortSignal.any([signal, AbortSignal.timeout(context.attemptMs)]),
        },
      );
    } catch (error) {
      signal.throwIfAborted();
      for (const one of missing) one.attempts.push(`${one.source.maven}: ${(error as Error).message}`);
      return;
    }
    for (const [index, one] of missing.entries()) {
      await attempt(one, one.source.maven ?? '', context, (timed) =>
        cache.keep(one.expected, createReadStream(files[index] ?? ''), timed),
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
