import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { access, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { UserError } from '../../../core/user-error.ts';
import type { ContentSpool } from '../../../oci/layer/content-spool.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import { packagePath, spoolEntry } from '../archive-entry.ts';
import type { BaseFile } from '../base-file.ts';
import type { FileTree } from '../file-tree.ts';
import { runProgram } from '../run-program.ts';

export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  /** Subresource integrity, `sha512-<base64>`. */
  readonly integrity: string;
}

/**
 * The package's archive, fetched by the machine's own npm (its registry, proxy and credentials) and kept in `folder`.
 * Errors: UserError when npm is missing or fails, or when the archive is not the one that the recipe names.
 */
export async function downloadNpmPackage(
  wanted: NpmPackage,
  options: {
    readonly folder: string;
    readonly signal: AbortSignal;
    /** Asked before npm. Default: nothing was kept. */
    readonly kept?: (tag: string) => Promise<AsyncIterable<Buffer> | undefined>;
    /** npm is not asked. Default false. */
    readonly offline?: boolean;
  },
): Promise<string> {
  const { folder, signal, kept, offline = false } = options;
  await mkdir(folder, { recursive: true });
  const file = join(folder, `${wanted.name.replaceAll('/', '+')}-${wanted.version}.tgz`);
  if (await exists(file)) {
    if ((await integrityOf(file)) === wanted.integrity) return file;
    await rm(file);
  }
  const work = await mkdtemp(join(folder, 'download-'));
  try {
    const name = `${wanted.name}@${wanted.version}`;
    const body = await kept?.(npmTag(wanted));
    if (body === undefined && offline) {
      throw new UserError(
        `${name} is neither in the cache nor in our own store; where the network is open, "brickyard base mirror" keeps it there`,
      );
    }
    const packed = body === undefined ? await packNpmPackage(name, work, signal) : join(work, 'kept.tgz');
    if (body !== undefined) await pipeline(body, createWriteStream(packed), { signal });
    const actual = await integrityOf(packed);
    if (actual !== wanted.integrity) {
      throw new UserError(`${name} has the checksum ${actual}, but the recipe says ${wanted.integrity}`);
    }
    await rename(packed, file);
    return file;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Under which tag a package is kept in our own store; its integrity is checked whenever it is used. */
export function npmTag({ integrity }: NpmPackage): string {
  return `npm-${Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex').slice(0, 64)}`;
}

/** The packages of an entry for one architecture. Errors: UserError when it names none for it. */
export function npmPackagesOf(
  { name: entry, npm = [] }: Pick<BaseFile, 'name' | 'npm'>,
  architecture: string,
): readonly NpmPackage[] {
  const pick = (value: string | Readonly<Record<string, string>>): string => {
    const picked = typeof value === 'string' ? value : value[architecture];
    if (picked === undefined) throw new UserError(`${entry} names no npm package for ${architecture}`);
    return picked;
  };
  return npm.map(({ package: name, version, integrity }) => ({
    name: pick(name),
    version,
    integrity: pick(integrity),
  }));
}

/** Has the machine's own npm put the archive of `name@version` into the empty folder `work`, and gives its path. Nothing of it runs. Errors: UserError. */
export async function packNpmPackage(name: string, work: string, signal: AbortSignal): Promise<string> {
  const flags = ['--pack-destination', work, '--ignore-scripts', '--fetch-retries=3', '--loglevel=error'];
  await runProgram('npm', ['pack', name, ...flags], { signal });
  const [packed] = await readdir(work);
  if (packed === undefined) throw new UserError(`npm fetched nothing for ${name}`);
  return join(work, packed);
}

/** Adds members of an npm archive to `tree`: what lies at or below `from` goes to or below `to` (both without slashes at the ends). */
export async function addNpmFiles(
  file: string,
  moves: readonly { readonly from: string; readonly to: string }[],
  options: { readonly tree: FileTree; readonly spool: ContentSpool; readonly signal: AbortSignal },
): Promise<void> {
  const { tree, spool, signal } = options;
  const missing = new Set(moves);
  await pipeline(
    createReadStream(file),
    createGunzip(),
    async (source: AsyncIterable<Buffer>) => {
      for await (const { entry, body } of readTar(source, { readToEnd: true })) {
        const own = packagePath(entry.path);
        for (const move of moves) {
          const rest =
            own === move.from
              ? ''
              : own.startsWith(`${move.from}/`)
                ? own.slice(move.from.length)
                : undefined;
          if (rest === undefined || entry.type !== 'file') continue;
          missing.delete(move);
          const path = move.to + rest;
          for (const parent of parentsBelow(path)) {
            tree.add({ type: 'directory', path: parent, mode: 0o755, uid: 0, gid: 0 });
          }
          // npm archives carry the owner of whoever packed them.
          const plain = { ...entry, mode: (entry.mode & 0o111) === 0 ? 0o644 : 0o755, uid: 0, gid: 0 };
          tree.add(await spoolEntry(plain, { path, target: '' }, body, spool, tree));
          break;
        }
      }
    },
    { signal },
  );
  for (const { from } of missing) throw new UserError(`${file} holds nothing under ${from}`);
}

function* parentsBelow(path: string): Generator<string, void, undefined> {
  for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
    yield path.slice(0, slash);
  }
}

async function integrityOf(file: string): Promise<string> {
  const hash = createHash('sha512');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return `sha512-${hash.digest('base64')}`;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
