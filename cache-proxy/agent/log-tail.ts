import type { Stats } from 'node:fs';
import { type FileHandle, open, rename, stat } from 'node:fs/promises';
import type { EngineLog } from '../pool-engine.ts';

/** Follows a file that somebody else appends lines to, and keeps it from growing for ever. */
export interface LogTail {
  /** Reads what is there now; also what runs by itself every `pollMs`. */
  poll(): Promise<void>;
  /** Reads the rest, and lets go of the file. */
  close(): Promise<void>;
}

export interface LogTailOptions {
  /** Need not be there yet. What it holds already was read by whoever ran before. */
  readonly file: string;
  /** Without its line end. Must not throw. */
  readonly onLine: (line: string) => void;
  /** Makes the writer open the file by its name again (nginx: SIGUSR1), as it was renamed to `<file>.1`. Undefined: it is left to grow. */
  readonly reopen?: () => void;
  /** Bytes from which on it is renamed. Default 64 MiB. */
  readonly rotateAt?: number;
  /** Default 250. */
  readonly pollMs?: number;
  readonly log: EngineLog;
}

const chunkBytes = 256 * 1024;
/** What is longer is no line of ours. */
const longestLine = 64 * 1024;
/** A writer may have lines for the renamed file in its hands still: it is read for so many polls more. */
const pollsAfterRename = 20;

interface Followed {
  readonly handle: FileHandle;
  readonly inode: number;
  position: number;
  rest: Buffer;
  /** The end of a line that was too long is being skipped. */
  skipping: boolean;
  pollsLeft: number;
}

/**
 * Survives that the file is renamed, cut, or not there for a while; what was read is not read again. A line that its writer has not ended yet waits.
 * Errors of the disk are logged and tried again at the next poll.
 */
export async function startLogTail(options: LogTailOptions): Promise<LogTail> {
  const { file, onLine, reopen, rotateAt = 64 * 1024 ** 2, pollMs = 250, log } = options;
  const buffer = Buffer.allocUnsafe(chunkBytes);
  const old: Followed[] = [];
  let current: Followed | undefined;
  let renamed = false;
  let complained = false;

  const take = (followed: Followed, chunk: Buffer): void => {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, from);
      if (end < 0) break;
      const piece = chunk.subarray(from, end);
      if (followed.skipping) followed.skipping = false;
      else if (followed.rest.length === 0) onLine(piece.toString());
      else onLine(Buffer.concat([followed.rest, piece]).toString());
      followed.rest = Buffer.alloc(0);
      from = end + 1;
    }
    if (followed.skipping) return;
    // A copy: the chunk's memory is used again.
    followed.rest = Buffer.concat([followed.rest, chunk.subarray(from)]);
    if (followed.rest.length <= longestLine) return;
    followed.rest = Buffer.alloc(0);
    followed.skipping = true;
  };
  const drain = async (followed: Followed): Promise<void> => {
    const { size } = await followed.handle.stat();
    if (size < followed.position) {
      followed.position = 0;
      followed.rest = Buffer.alloc(0);
      followed.skipping = false;
    }
    for (;;) {
      const { bytesRead } = await followed.handle.read(buffer, 0, chunkBytes, followed.position);
      if (bytesRead === 0) return;
      followed.position += bytesRead;
      take(followed, buffer.subarray(0, bytesRead));
    }
  };
  const follow = async (position: 'start' | 'end'): Promise<void> => {
    const handle = await open(file, 'r');
    const { ino, size } = await handle.stat();
    current = {
      handle,
      inode: ino,
      position: position === 'end' ? size : 0,
      rest: Buffer.alloc(0),
      skipping: false,
      pollsLeft: pollsAfterRename,
    };
  };
  const look = async (): Promise<void> => {
    const there = await statIfThere(file);
    if (current !== undefined && there?.ino !== current.inode) {
      // Not before there is another: until its writer opens that one, it goes on writing here.
      if (there !== undefined) {
        old.push(current);
        current = undefined;
        renamed = false;
      }
    }
    if (current === undefined && there !== undefined) await follow('start');
    for (const followed of old) {
      await drain(followed);
      followed.pollsLeft -= 1;
    }
    while (old[0] !== undefined && (old[0].pollsLeft <= 0 || old.length > 2))
      await old.shift()?.handle.close();
    if (current === undefined) return;
    await drain(current);
    if (reopen === undefined || renamed || current.position < rotateAt) return;
    await rename(file, `${file}.1`);
    renamed = true;
    reopen();
  };

  let running: Promise<void> | undefined;
  const poll = (): Promise<void> => {
    running ??= look()
      .then(() => {
        complained = false;
      })
      .catch((error: unknown) => {
        if (!complained) log.warn({ err: error, file }, 'the log of requests cannot be read');
        complained = true;
      })
      .finally(() => {
        running = undefined;
      });
    return running;
  };
  if ((await statIfThere(file)) !== undefined) await follow('end');
  const timer = setInterval(() => void poll(), pollMs);
  timer.unref();

  return {
    poll,
    async close() {
      clearInterval(timer);
      await running;
      await poll();
      for (const followed of old) await followed.handle.close();
      await current?.handle.close();
    },
  };
}

/** Errors: those of the system, but for a file that is not there. */
async function statIfThere(file: string): Promise<Stats | undefined> {
  try {
    return await stat(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
