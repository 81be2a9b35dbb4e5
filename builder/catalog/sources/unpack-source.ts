import { createReadStream } from 'node:fs';
import { ArchiveError } from '../../../core/archive/archive-error.ts';
import { entryPath, shownPath } from '../../../core/archive/entry-path.ts';
import { UserError } from '../../../core/user-error.ts';
import type { ContentSpool } from '../../../oci/layer/content-spool.ts';
import type { LayerEntry, LayerFile } from '../../../oci/layer/entry.ts';
import { TarError } from '../../../oci/layer/tar-decode.ts';
import type { BaseFileSource } from '../base-file.ts';
import { directory, type FileTree, symlink } from '../file-tree.ts';
import { type ArchiveMember, readArchive } from './read-archive.ts';

interface Move {
  /** In the archive, after `strip`; '' is all of it. */
  readonly from: string;
  /** In the image, without a leading slash. */
  readonly to: string;
}

/**
 * Lays what `source.unpack` names into `tree`, root's own, with modes 0755 (directories, programs) and 0644: setuid bits and owners
 * of whoever packed it are lost. Errors: UserError naming the source for damaged archives, bombs, paths and links that lead out
 * of it, devices, names that stand twice, and paths that are not in it.
 */
export async function unpackSource(
  file: string,
  source: BaseFileSource,
  options: { readonly tree: FileTree; readonly spool: ContentSpool },
): Promise<void> {
  const { tree, spool } = options;
  try {
    const whole = source.unpack?.['.'];
    if (whole !== undefined) {
      addParents(tree, whole.slice(1));
      const content = await spool.add(createReadStream(file));
      tree.add({ type: 'file', path: whole.slice(1), mode: 0o644, uid: 0, gid: 0, content });
    } else if (source.unpack !== undefined) await unpackArchive(file, source, options);
    for (const [path, target] of Object.entries(source.links ?? {})) {
      addParents(tree, path.slice(1));
      tree.add(symlink(path.slice(1), target));
    }
  } catch (error) {
    if (error instanceof ArchiveError || error instanceof TarError || error instanceof UserError) {
      throw new UserError(`the source ${source.name} cannot be unpacked: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

async function unpackArchive(
  file: string,
  source: BaseFileSource,
  { tree, spool }: { readonly tree: FileTree; readonly spool: ContentSpool },
): Promise<void> {
  // The most exact one first: `bin/tool` may go elsewhere than the rest of `bin`.
  const moves = Object.entries(source.unpack ?? {})
    .map(([from, to]): Move => ({ from, to: to.slice(1) }))
    .sort((a, b) => b.from.length - a.from.length);
  const unused = new Set(moves);
  const files = new Map<string, LayerFile>();
  const seen = new Set<string>();
  for await (const member of readArchive(file)) {
    const own = stripped(member.path, source.strip ?? 0);
    const move = own === undefined ? undefined : moves.find(({ from }) => isBelow(own, from));
    if (own === undefined || move === undefined) continue;
    unused.delete(move);
    const path =
      own === move.from ? move.to : `${move.to}/${move.from === '' ? own : own.slice(move.from.length + 1)}`;
    if (member.type !== 'directory') {
      if (seen.has(path)) throw refused(member.path, 'the name stands twice in the archive');
      seen.add(path);
    }
    if (path.split('/').some((part) => part.startsWith('.wh.'))) {
      throw refused(member.path, 'names that begin with ".wh." mean deletion in a layer');
    }
    addParents(tree, path);
    const entry = await toEntry(member, path, move, files, spool);
    if (entry.type === 'file') files.set(member.path, entry);
    tree.add(entry);
  }
  for (const { from } of unused) {
    throw new UserError(`it holds nothing under ${JSON.stringify(from)} (strip: ${source.strip ?? 0})`);
  }
}

async function toEntry(
  member: ArchiveMember,
  path: string,
  move: Move,
  files: ReadonlyMap<string, LayerFile>,
  spool: ContentSpool,
): Promise<LayerEntry> {
  const mode = member.executable ? 0o755 : 0o644;
  switch (member.type) {
    case 'file':
      return { type: 'file', path, mode, uid: 0, gid: 0, content: await spool.add(member.body) };
    case 'directory':
      return directory(path);
    case 'symlink':
      checkTarget(member, path, move);
      return symlink(path, member.target);
    case 'hardlink': {
      const original = files.get(entryPath(member.target));
      if (original === undefined) {
        throw refused(
          member.path,
          `it is a hard link to ${shownPath(member.target)}, which is not unpacked before it`,
        );
      }
      return { ...original, path };
    }
    case 'other':
      throw refused(member.path, 'it is a device, a socket or a named pipe');
  }
}

/** Within what is moved together, or the link would mean something else in the image than in the archive. */
function checkTarget({ path: shown, target }: ArchiveMember, path: string, { to }: Move): void {
  if (target === '' || target.includes('\0')) throw refused(shown, 'its target is no path');
  const parts = path.split('/').slice(0, -1);
  const root = path === to ? parts.join('/') : to;
  for (const part of target.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  if (target.startsWith('/') || !isBelow(parts.join('/'), root)) {
    throw refused(
      shown,
      `it is a link to ${shownPath(target)}, out of what is unpacked; write such links under "links"`,
    );
  }
}

/** Undefined: the entry lies in what is cut off. */
function stripped(path: string, parts: number): string | undefined {
  const all = path === '' ? [] : path.split('/');
  return all.length < parts ? undefined : all.slice(parts).join('/');
}

function isBelow(path: string, folder: string): boolean {
  return folder === '' || path === folder || path.startsWith(`${folder}/`);
}

function addParents(tree: FileTree, path: string): void {
  for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
    tree.add(directory(path.slice(0, slash)));
  }
}

function refused(path: string, reason: string): UserError {
  return new UserError(`entry ${shownPath(path)}: ${reason}`);
}
