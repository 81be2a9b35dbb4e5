import type { Readable, Writable } from 'node:stream';
import { startGit } from './git-process.ts';

export interface GitObjectHead {
  readonly id: string;
  readonly type: string;
  /** Bytes. */
  readonly size: number;
}

/**
 * One `git cat-file --batch`: objects by name, as they lie in the repository, with no filter, no replacement and no checkout.
 * Answers come in the order of the questions; each must be read before the next.
 */
export interface ObjectReader {
  /** Asks ahead; the answer is taken by `next`. `name` is a full object id, optionally with `^{tree}` or `^{commit}`. */
  ask(name: string): void;
  /** The next answer's head; undefined: there is no such object. */
  next(): Promise<GitObjectHead | undefined>;
  /** The whole of the object that `next` has just named. */
  take(head: GitObjectHead): Promise<Buffer>;
  /** The same piece by piece, in bounded memory; must be read to its end. */
  stream(head: GitObjectHead): AsyncGenerator<Buffer>;
  close(): Promise<void>;
}

export function createObjectReader(options: {
  repository: string;
  environment: Record<string, string>;
}): ObjectReader {
  const git = startGit(['cat-file', '--batch'], {
    environment: { ...options.environment, GIT_DIR: options.repository },
    cwd: options.repository,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const stdin = git.child.stdin as Writable;
  const stdout = git.child.stdout as Readable;
  stdin.on('error', () => {});
  const iterator = (stdout as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let pending: Buffer = Buffer.alloc(0);

  async function more(): Promise<Buffer> {
    if (pending.length > 0) {
      const part = pending;
      pending = Buffer.alloc(0);
      return part;
    }
    const { value, done } = (await iterator.next()) as IteratorResult<Buffer, undefined>;
    if (done === true) {
      const code = await git.exited;
      throw new Error(`git cat-file ended early (${code}): ${git.stderr()}`);
    }
    return value;
  }

  async function line(): Promise<string> {
    const parts: Buffer[] = [];
    for (;;) {
      const part = await more();
      const end = part.indexOf(10);
      if (end >= 0) {
        parts.push(part.subarray(0, end));
        pending = part.subarray(end + 1);
        return Buffer.concat(parts).toString('latin1');
      }
      parts.push(part);
    }
  }

  async function* stream(head: GitObjectHead): AsyncGenerator<Buffer> {
    let left = head.size;
    while (left > 0) {
      const part = await more();
      if (part.length > left) {
        pending = part.subarray(left);
        yield part.subarray(0, left);
        left = 0;
      } else {
        left -= part.length;
        yield part;
      }
    }
    // A line end follows each object.
    const after = await more();
    pending = after.subarray(1);
  }

  return {
    ask: (name) => void stdin.write(`${name}\n`),
    async next() {
      const [id = '', type = '', size = ''] = (await line()).split(' ');
      if (type === 'missing' || type === 'ambiguous') return undefined;
      return { id, type, size: Number(size) };
    },
    async take(head) {
      const parts: Buffer[] = [];
      for await (const part of stream(head)) parts.push(part);
      return Buffer.concat(parts);
    },
    stream,
    async close() {
      stdin.destroy();
      stdout.destroy();
      // It only reads; nothing is lost by ending it in the middle of a large object.
      git.child.kill();
      await git.exited.catch(() => {});
    },
  };
}
