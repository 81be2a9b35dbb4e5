import { close as closeCallback, fdatasync as fdatasyncCallback, writev as writevCallback } from 'node:fs';
import { promisify } from 'node:util';
import { blockBytes } from './aligned-buffers.ts';
import type { ByteBudget } from './byte-budget.ts';
import type { DirectFile, DirectFiles } from './direct-files.ts';
import { unavailable } from './file-errors.ts';
import type { MultipartState, MultipartWriter } from './object-store.ts';

const close = promisify(closeCallback);
const fdatasync = promisify(fdatasyncCallback);

/** Gathered before a write starts. */
const BATCH_BYTES = 1024 * 1024;
/** Linux takes 1024 buffers in one call; a client that sends single bytes must not pile up a million of them. */
const BATCH_BUFFERS = 512;
/** Held by one writer, gathered and under way, before its caller has to wait. */
const WRITER_BYTES = 4 * 1024 * 1024;
/** A slow client's bytes do not occupy the budget of the others for longer than this. */
const LONGEST_GATHER_MS = 50;
/** The kernel is asked to write back every so many bytes, so that the sync at the end finds little left to do. */
const WRITE_BACK_BYTES = 32 * 1024 * 1024;

export interface AppendedFile {
  /** Closed, and so its claim freed, by `close`. */
  readonly fd: number;
  /** Of the same file, as a byte string. */
  readonly path: string;
  /** Called before the first byte is written. */
  readonly begin: () => void;
}

/**
 * Appends from `state.offset` on. What comes faster than the clock of `LONGEST_GATHER_MS` is written past the page cache; the rest, the
 * odd bytes at either end, and everything where the file system knows no direct writes go through it.
 */
export function createFileAppender(
  { fd, path, begin }: AppendedFile,
  state: MultipartState,
  { budget, direct }: { budget: ByteBudget; direct: DirectFiles },
): MultipartWriter {
  let gathered: Buffer[] = [];
  let gatheredBytes = 0;
  let heldBytes = 0;
  let position = state.offset;
  let sinceWriteBack = 0;
  let begun = false;
  let failure: Error | undefined;
  let draining = false;
  let writeBack: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closing: Promise<void> | undefined;
  /** Undefined: not asked yet; false: the file system has no direct writes. */
  let directFile: DirectFile | undefined | false;
  /** Who waits for the next batch to end. */
  let waiting: (() => void)[] = [];

  const release = (bytes: number): void => {
    heldBytes -= bytes;
    budget.give(bytes);
    const woken = waiting;
    waiting = [];
    for (const wake of woken) wake();
  };
  const progress = (): Promise<void> => new Promise((resolve) => waiting.push(resolve));
  const startWriteBack = (): void => {
    if (sinceWriteBack < WRITE_BACK_BYTES || writeBack !== undefined) return;
    sinceWriteBack = 0;
    writeBack = fdatasync(fd)
      .catch((error: unknown) => {
        failure ??= unavailable('writing an upload', error);
      })
      .finally(() => {
        writeBack = undefined;
      });
  };
  const take = (bytes: number): Buffer[] => {
    const taken: Buffer[] = [];
    let missing = bytes;
    while (missing > 0) {
      const [first] = gathered;
      if (first === undefined) throw new Error('fewer bytes are gathered than are to be written');
      if (first.length > missing) {
        gathered[0] = first.subarray(missing);
        taken.push(first.subarray(0, missing));
        break;
      }
      gathered.shift();
      taken.push(first);
      missing -= first.length;
    }
    gatheredBytes -= bytes;
    return taken;
  };
  const writeThroughCache = async (batch: Buffer[], bytes: number): Promise<void> => {
    await writeAll(fd, batch, position);
    sinceWriteBack += bytes;
    startWriteBack();
  };
  const writeDirect = async (file: DirectFile, batch: Buffer[], bytes: number): Promise<void> => {
    const fill = (buffer: Buffer): void => {
      let at = 0;
      for (const chunk of batch) at += chunk.copy(buffer, at);
    };
    if (await file.write(bytes, position, fill)) return;
    directFile = false;
    await writeThroughCache(batch, bytes);
  };
  /** What to write next, and how. */
  const nextWrite = async (): Promise<{ bytes: number; file: DirectFile | undefined }> => {
    const bytes = gathered.slice(0, BATCH_BUFFERS).reduce((sum, chunk) => sum + chunk.length, 0);
    if (gatheredBytes < direct.writeBytes) return { bytes, file: undefined };
    directFile ??= (await direct.open(path)) ?? false;
    if (directFile === false) return { bytes, file: undefined };
    const odd = position % blockBytes;
    if (odd > 0) return { bytes: blockBytes - odd, file: undefined };
    return { bytes: direct.writeBytes, file: directFile };
  };
  const drain = async (): Promise<void> => {
    while (gathered.length > 0 && failure === undefined) {
      let taken = 0;
      try {
        const { bytes, file } = await nextWrite();
        const batch = take(bytes);
        taken = bytes;
        if (file === undefined) await writeThroughCache(batch, bytes);
        else await writeDirect(file, batch, bytes);
        position += bytes;
      } catch (error) {
        failure = unavailable('writing an upload', error);
      } finally {
        release(taken);
      }
    }
    if (failure !== undefined) {
      release(gatheredBytes);
      gathered = [];
      gatheredBytes = 0;
    }
    // In the same step as the loop's last look: whoever is woken by then finds the truth here.
    draining = false;
  };
  // One write at a time: they would queue up on the file's own lock, and what arrives meanwhile makes the next one larger.
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (draining) return;
    draining = true;
    void drain();
  };
  const step = async (): Promise<void> => {
    const moved = progress();
    flush();
    await moved;
  };
  const check = (): void => {
    if (failure !== undefined) throw failure;
    if (closing !== undefined) throw new Error('this writer is closed');
  };
  const settle = async (): Promise<void> => {
    while (draining || gathered.length > 0) await step();
  };

  return {
    async write(chunk) {
      check();
      if (chunk.length === 0) return;
      if (!begun) begin();
      begun = true;
      const turn = budget.take(chunk.length);
      if (turn !== undefined) {
        await turn;
        if (failure !== undefined || closing !== undefined) budget.give(chunk.length);
        check();
      }
      gathered.push(chunk);
      gatheredBytes += chunk.length;
      heldBytes += chunk.length;
      if (gatheredBytes >= BATCH_BYTES || gathered.length >= BATCH_BUFFERS) flush();
      else timer ??= setTimeout(flush, LONGEST_GATHER_MS);
      // Only until there is room again: while the rest is being written the caller fetches and hashes what comes next.
      while (heldBytes > WRITER_BYTES) await step();
      check();
    },
    async checkpoint() {
      check();
      // What is written after the call does not delay it.
      const goal = position + heldBytes;
      while (position < goal && failure === undefined) await step();
      check();
      return { ...state, offset: Math.min(position, goal) };
    },
    close() {
      closing ??= (async () => {
        failure ??= new Error('this writer is closed');
        await settle();
        await writeBack;
        clearTimeout(timer);
        if (directFile) await directFile.close();
        await close(fd);
      })();
      return closing;
    },
  };
}

async function writeAll(fd: number, batch: Buffer[], position: number): Promise<void> {
  let rest = batch;
  let at = position;
  while (rest.length > 0) {
    const written = await writev(fd, rest, at);
    at += written;
    rest = without(rest, written);
  }
}

function writev(fd: number, buffers: Buffer[], position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    writevCallback(fd, buffers, position, (error, written) => {
      if (error === null) resolve(written);
      else reject(error);
    });
  });
}

/** What is left of `buffers` behind their first `count` bytes. */
function without(buffers: Buffer[], count: number): Buffer[] {
  let skip = count;
  for (const [index, buffer] of buffers.entries()) {
    if (skip < buffer.length) return [buffer.subarray(skip), ...buffers.slice(index + 1)];
    skip -= buffer.length;
  }
  return [];
}
