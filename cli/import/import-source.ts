import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { UserError } from '../../core/user-error.ts';
import type { Digest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import { isRepositoryName } from '../../oci/reference.ts';
import type { Registry } from '../../oci/registry.ts';
import type { CliContext } from '../context.ts';
import { serverUrl } from '../credentials.ts';
import { openRegistryAt } from '../image-place.ts';
import type { RepositoryChoice } from './repository-choice.ts';
import { openStorageFiles } from './storage-files.ts';
import { createStorageRegistry, type StorageRegistry } from './storage-registry.ts';
import { listStorageManifests, listStorageRepositories } from './storage-repositories.ts';

/** Where images are imported from: a storage folder or a registry that runs. */
export interface ImportSource {
  /** As a person calls it. */
  readonly name: string;
  /** Of a registry. */
  readonly url?: string;
  readonly registry: StorageRegistry;
  /** What is wanted of it. Errors: UserError. */
  listRepositories(): Promise<readonly string[]>;
  /** With those without a tag; only a folder can tell. */
  readonly listManifests?: (repository: string) => AsyncIterable<Digest>;
  close(): void;
}

export interface ImportSourceOptions {
  readonly choice: RepositoryChoice;
  readonly tokenHosts: readonly string[];
  readonly onNotice: (notice: string) => void;
}

/** `https://host[/prefix]`, or a folder. Errors: UserError. */
export async function openImportSource(
  context: CliContext,
  written: string,
  options: ImportSourceOptions,
): Promise<ImportSource> {
  if (/^https?:\/\//i.test(written)) return openLive(context, written, options);
  const folder = resolve(context.cwd, written);
  if (!(await isFolder(folder))) {
    throw new UserError(
      `"${written}" is no folder; a registry is written with its scheme: https://host[/prefix]`,
      {
        exitCode: 2,
      },
    );
  }
  const { choice, onNotice } = options;
  const files = await openStorageFiles(folder);
  return {
    name: files.root,
    registry: createStorageRegistry(files, onNotice),
    async listRepositories() {
      const found = (await listStorageRepositories(files, onNotice)).filter((name) => choice.matches(name));
      return orNothing(found, choice, files.root);
    },
    listManifests: (repository) => listStorageManifests(files, repository),
    close() {},
  };
}

async function openLive(
  context: CliContext,
  written: string,
  { choice, tokenHosts }: ImportSourceOptions,
): Promise<ImportSource> {
  const { origin, pathname } = parseUrl(written);
  const prefix = pathname.replace(/^\/|\/$/g, '');
  if (prefix !== '' && !isRepositoryName(prefix)) {
    throw new UserError(`"${prefix}" begins no repository, such as https://host/team`, { exitCode: 2 });
  }
  const url = serverUrl(context, origin);
  const registry = await openRegistryAt(context, url, { tokenHosts });
  const isWanted = (name: string): boolean =>
    (prefix === '' || name === prefix || name.startsWith(`${prefix}/`)) && choice.matches(name);
  return {
    name: url,
    url,
    registry,
    async listRepositories() {
      // Many registries let nobody list what they have.
      const all = choice.names ?? (await readCatalog(registry, url));
      return orNothing(all.filter(isWanted), choice, url);
    },
    close: () => registry.close(),
  };
}

async function readCatalog(
  registry: Pick<Registry, 'listRepositories'>,
  url: string,
): Promise<readonly string[]> {
  const all: string[] = [];
  let last: string | undefined;
  try {
    do {
      const page = await registry.listRepositories({ limit: 1000, ...(last === undefined ? {} : { last }) });
      all.push(...page.entries);
      last = page.next === last ? undefined : page.next;
    } while (last !== undefined);
  } catch (cause) {
    if (isOciError(cause, 'UNAVAILABLE')) {
      throw new UserError(`cannot reach ${url}: ${cause.message}`, { cause });
    }
    if (!isOciError(cause)) throw cause;
    const signIn = cause.code === 'UNAUTHORIZED' ? `sign in (brickyard login ${url}), or ` : '';
    throw new UserError(
      `${url} does not list its repositories (${cause.message}); ${signIn}name them: --repositories team/app,team/web or @FILE`,
      { cause },
    );
  }
  return all;
}

/** Errors: UserError, as nothing to do where a choice was made is a mistake. */
function orNothing(names: readonly string[], choice: RepositoryChoice, where: string): readonly string[] {
  const absent = choice.names?.filter((name) => !names.includes(name)) ?? [];
  if (absent.length > 0) {
    throw new UserError(`${where} has no repository ${absent.slice(0, 10).join(', ')}`, { exitCode: 1 });
  }
  if (names.length > 0) return names;
  throw new UserError(`${where} has no repository that was asked for`);
}

function parseUrl(written: string): URL {
  const url = URL.canParse(written) ? new URL(written) : undefined;
  if (url !== undefined && url.search === '' && url.hash === '' && url.username === '') return url;
  throw new UserError(`"${written}" is no address of a registry, such as https://host/team`, { exitCode: 2 });
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}
