import { ArchiveError } from '../../core/archive/archive-error.ts';
import { entryPath, shownPath } from '../../core/archive/entry-path.ts';
import { refusePath } from '../plan/select-source.ts';

export type PlacedKind = 'file' | 'executable' | 'symlink';

/** A member of an archive as it wants to be. Paths and targets are raw bytes as latin1. */
export interface PackageEntry {
  readonly type: string;
  readonly path: string;
  readonly mode: number;
}

/** A file of the future commit. */
export interface PlacedFile {
  readonly path: string;
  readonly kind: PlacedKind;
  /** Number of its content, as the commit's writer gave it. */
  readonly content: number;
  /** Of a symbolic link. */
  readonly target?: string;
}

/** All names and targets together. Bytes. */
const mostNames = 64 * 1024 * 1024;

/**
 * The files of an archive by their paths; nothing of it is ever laid out on this machine. What a git tree cannot hold (owners, times, empty directories) is left out;
 * what could reach beyond the application's directory, or what two programs could understand differently, is refused with the entry's name.
 */
export interface PackageTree {
  /** Before the content is read. '' = the entry is a directory or the root: it has no content. Errors: ArchiveError. */
  claim(entry: PackageEntry): string;
  /** `path`: what `claim` gave. */
  place(path: string, file: Omit<PlacedFile, 'path'>): void;
  /** A file that came before. */
  get(path: string): PlacedFile | undefined;
  /** The only directory that everything lies in, if there is one. */
  top(): string | undefined;
  /** The names in a directory; '' is the root. */
  names(directory: string): string[];
  /** All files, below `without` where it is given, in the order of their bytes. Errors: ArchiveError. */
  files(without?: string): PlacedFile[];
}

export function createPackageTree(): PackageTree {
  const places = new Map<string, PlacedFile | 'directory' | 'claimed'>();
  let nameBytes = 0;

  function count(bytes: number): void {
    nameBytes += bytes;
    if (nameBytes > mostNames) throw new ArchiveError(`its names take more than ${mostNames} bytes`);
  }

  const list = (): PlacedFile[] => [...places.values()].filter((place) => typeof place === 'object');

  return {
    claim(entry) {
      const path = entryPath(entry.path);
      const refuse = (reason: string): ArchiveError =>
        new ArchiveError(`entry ${shownPath(entry.path)}: ${reason}`);
      if (!['file', 'directory', 'symlink', 'hardlink'].includes(entry.type)) {
        throw refuse(
          `it is a ${entry.type === 'other' ? 'device or pipe' : entry.type}: only files, directories and links enter an image`,
        );
      }
      if (path === '') {
        if (entry.type === 'directory') return '';
        throw refuse('it has no name');
      }
      const unfit = refusePath(path);
      if (unfit !== undefined) throw refuse(unfit);
      // Also as file systems without case, and Windows' short names, would read it: such a commit could not be checked out safely.
      if (/(?:^|\/)(?:\.git|git~1)(?:\/|$)/i.test(path))
        throw refuse('nothing in a package may be called ".git"');
      const before = places.get(path);
      if (before !== undefined && !(before === 'directory' && entry.type === 'directory')) {
        throw refuse('the same name stands in the archive twice');
      }
      count(path.length);
      if (entry.type === 'directory') {
        places.set(path, 'directory');
        return '';
      }
      if (entry.type === 'file' && (entry.mode & 0o6000) !== 0) throw refuse('it is setuid or setgid');
      places.set(path, 'claimed');
      return path;
    },
    place(path, file) {
      count(file.target?.length ?? 0);
      places.set(path, { path, ...file });
    },
    get(path) {
      const place = places.get(path);
      return typeof place === 'object' ? place : undefined;
    },
    top() {
      const [top, ...more] = this.names('');
      return top !== undefined && more.length === 0 && typeof places.get(top) !== 'object' ? top : undefined;
    },
    names(directory) {
      const prefix = directory === '' ? '' : `${directory}/`;
      const found = new Set<string>();
      for (const path of places.keys()) {
        if (path.startsWith(prefix)) found.add(path.slice(prefix.length).split('/', 1)[0] as string);
      }
      return [...found];
    },
    files(without) {
      const cut = without === undefined ? 0 : without.length + 1;
      const files = list()
        .map((file) => ({ ...file, path: file.path.slice(cut) }))
        .toSorted((a, b) => (a.path < b.path ? -1 : 1));
      for (const file of files) checkPlace(file, places, cut === 0 ? '' : `${without}/`);
      return files;
    },
  };
}

function checkPlace(file: PlacedFile, places: ReadonlyMap<string, unknown>, prefix: string): void {
  const { path, target } = file;
  const refuse = (reason: string): ArchiveError =>
    new ArchiveError(`entry ${shownPath(prefix + path)}: ${reason}`);
  for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
    const parent = places.get(prefix + path.slice(0, slash));
    // A file below a link would be written to where the link leads.
    if (parent !== undefined && parent !== 'directory') {
      throw refuse(`it lies below ${shownPath(prefix + path.slice(0, slash))}, which is no directory`);
    }
  }
  if (target === undefined) return;
  if (target === '' || target.startsWith('/') || target.includes('\0') || climbs(path, target)) {
    throw refuse(`it links to ${shownPath(target)}, outside of the package`);
  }
}

/** Whether a link's target leaves the root on its way, read as text: other links on the way were held to the same. */
function climbs(path: string, target: string): boolean {
  let depth = path.split('/').length - 1;
  for (const part of target.split('/')) {
    if (part === '..') depth -= 1;
    else if (part !== '' && part !== '.') depth += 1;
    if (depth < 0) return true;
  }
  return false;
}
