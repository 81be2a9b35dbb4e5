import { Readable } from 'node:stream';
import { UserError } from '../../core/user-error.ts';
import type { SourceEntry } from '../plan/source-tree.ts';
import type { CommitTree } from './git-host.ts';
import { createObjectReader, type ObjectReader } from './object-reader.ts';

/** Most files and directories of one commit; far above the largest projects known, far below what fills the memory. */
const entryLimit = 2_000_000;
/** Asked ahead, so that git is never idle; each answer waits in a pipe, not in memory. */
const readAhead = 32;
const smallFile = 256 * 1024;

/** Reads a commit straight from git objects. Errors: UserError when the repository has no such commit. */
export async function openGitTree(options: {
  repository: string;
  environment: Record<string, string>;
  /** Full object id of a commit or an annotated tag. */
  commit: string;
  /** Told when a content breaks off while it is read: the reader of the body sees the error, nobody else does. */
  broken?: () => void;
}): Promise<CommitTree> {
  const open = (): ObjectReader => createObjectReader(options);
  // One reader stays for the tree and for single files; each run of `read` has its own, as its answers must come in order.
  const reader = open();
  let root: { id: string; bytes: Buffer };
  let commit: { id: string; committedAt: Date };
  try {
    reader.ask(`${options.commit}^{commit}`);
    reader.ask(`${options.commit}^{tree}`);
    const commitHead = await reader.next();
    if (commitHead !== undefined) {
      const text = (await reader.take(commitHead)).toString('latin1');
      commit = { id: commitHead.id, committedAt: committerDate(text) };
    } else commit = { id: options.commit, committedAt: new Date(0) };
    const head = await reader.next();
    if (head === undefined || head.type !== 'tree') {
      throw new UserError(`commit ${options.commit} is not in the repository`);
    }
    root = { id: head.id, bytes: await reader.take(head) };
  } catch (error) {
    await reader.close();
    throw error;
  }
  // The first run's reader is started here, so that git is up when it is asked.
  let spare: ObjectReader | undefined = open();
  let listing: Promise<readonly SourceEntry[]> | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  /** Questions and answers of different callers must not mix on the one reader. */
  function alone<T>(task: () => Promise<T>): Promise<T> {
    const result = turn.then(task, task);
    turn = result.catch(() => {});
    return result;
  }

  function entries(): Promise<readonly SourceEntry[]> {
    listing ??= alone(() => listTree(reader, root.bytes));
    return listing;
  }

  return {
    key: root.id,
    commit: commit.id,
    committedAt: commit.committedAt,
    entries,
    async readFile(path, limit) {
      const entry = (await entries()).find((candidate) => candidate.path === path);
      if (entry === undefined || (entry.kind !== 'file' && entry.kind !== 'executable')) return undefined;
      return alone(async () => {
        reader.ask(entry.id);
        const head = await reader.next();
        if (head === undefined) throw new Error(`object ${entry.id} is missing`);
        if (head.size > limit) {
          for await (const part of reader.stream(head)) void part;
          throw new UserError(`${path} is larger than ${limit} bytes`);
        }
        return reader.take(head);
      });
    },
    async *read(entries) {
      const own = spare ?? open();
      spare = undefined;
      try {
        let asked = 0;
        for (const [index, entry] of entries.entries()) {
          for (; asked < Math.min(entries.length, index + readAhead); asked++) {
            own.ask((entries[asked] as SourceEntry).id);
          }
          const head = await own.next();
          if (head === undefined) throw new Error(`object ${entry.id} of ${entry.path} is missing`);
          const body =
            head.size <= smallFile
              ? Readable.from([await own.take(head)], { objectMode: false })
              : Readable.from(watched(own.stream(head), options.broken), {
                  objectMode: false,
                  highWaterMark: 65_536,
                });
          yield { entry, size: head.size, body };
        }
      } finally {
        await own.close();
      }
    },
    async close() {
      await Promise.all([reader.close(), spare?.close()]);
    },
  };
}

async function* watched(
  content: AsyncGenerator<Buffer>,
  broken: () => void = () => {},
): AsyncGenerator<Buffer> {
  try {
    yield* content;
  } catch (error) {
    broken();
    throw error;
  }
}

/** Broken dates, which git allows here, count as 1970. */
function committerDate(text: string): Date {
  const seconds = Number(/^committer .*> (\d{1,11}) /m.exec(text)?.[1] ?? 0);
  return new Date(seconds * 1000);
}

async function listTree(reader: ObjectReader, root: Buffer): Promise<readonly SourceEntry[]> {
  const found: SourceEntry[] = [];
  let count = 0;
  // Level by level: the trees of one level are asked for in windows, so a wide tree costs few round trips.
  let level: { path: string; id: string }[] = [];
  const visit = (prefix: string, bytes: Buffer, next: { path: string; id: string }[]): void => {
    for (const { mode, name, id } of parseTree(bytes)) {
      if (++count > entryLimit) throw new UserError(`the commit holds more than ${entryLimit} files`);
      const path = prefix + name;
      if (mode === '40000') next.push({ path: `${path}/`, id });
      else if (mode === '120000') found.push({ path, kind: 'symlink', id });
      else if (mode === '160000') found.push({ path, kind: 'submodule', id });
      else found.push({ path, kind: mode.endsWith('755') ? 'executable' : 'file', id });
    }
  };
  visit('', root, level);
  while (level.length > 0) {
    const next: { path: string; id: string }[] = [];
    let asked = 0;
    for (const [index, directory] of level.entries()) {
      for (; asked < Math.min(level.length, index + readAhead); asked++) {
        reader.ask((level[asked] as { id: string }).id);
      }
      const head = await reader.next();
      if (head === undefined || head.type !== 'tree') throw new Error(`tree ${directory.id} is missing`);
      visit(directory.path, await reader.take(head), next);
    }
    level = next;
  }
  // latin1 text compares as its bytes do.
  return found.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

function* parseTree(bytes: Buffer): Generator<{ mode: string; name: string; id: string }> {
  let at = 0;
  while (at < bytes.length) {
    const space = bytes.indexOf(32, at);
    const zero = bytes.indexOf(0, space);
    if (space < 0 || zero < 0 || zero + 21 > bytes.length)
      throw new UserError('a tree of the commit is damaged');
    yield {
      // Old tools padded the mode with zeros.
      mode: bytes.toString('latin1', at, space).replace(/^0+/, ''),
      name: bytes.toString('latin1', space + 1, zero),
      id: bytes.toString('hex', zero + 1, zero + 21),
    };
    at = zero + 21;
  }
}
