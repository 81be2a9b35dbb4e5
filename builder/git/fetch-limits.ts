import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type FetchLimits, FetchRefused } from './fetch-target.ts';

const lookEveryMs = 250;

export interface FetchWatch {
  /** Aborted when a limit is passed, or the caller's signal is. */
  readonly signal: AbortSignal;
  /** Which limit was passed. */
  fault(): FetchRefused | undefined;
  /** Looks once more. */
  check(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Looks at the packs that git writes while it fetches, as git has no limits of its own for what it is sent. What passes a limit is over
 * within a quarter of a second.
 */
export function watchFetch(options: {
  /** `objects/pack`. */
  readonly folder: string;
  /** Packs that were there before. */
  readonly known: readonly string[];
  readonly limits: FetchLimits;
  readonly signal: AbortSignal;
}): FetchWatch {
  const { folder, limits } = options;
  const known = new Set(options.known);
  const stop = new AbortController();
  let passed: FetchRefused | undefined;
  let looking: Promise<void> | undefined;

  async function check(): Promise<void> {
    let bytes = 0;
    let objects = 0;
    for (const name of await readdir(folder)) {
      if (!/^tmp_pack_|\.pack$/.test(name) || known.has(/^pack-([0-9a-f]+)\.pack$/.exec(name)?.[1] ?? ''))
        continue;
      bytes += (await stat(join(folder, name)).catch(() => undefined))?.size ?? 0;
      objects += await countObjects(join(folder, name));
    }
    if (bytes > limits.bytes) passed ??= new FetchRefused(`it is larger than ${limits.bytes} bytes`);
    if (objects > limits.objects) passed ??= new FetchRefused(`it has more than ${limits.objects} objects`);
    if (passed !== undefined) stop.abort(passed);
  }

  const timer = setInterval(() => {
    looking ??= check()
      .catch(() => {})
      .finally(() => {
        looking = undefined;
      });
  }, lookEveryMs);
  return {
    signal: AbortSignal.any([options.signal, stop.signal]),
    fault: () => passed,
    check,
    async close() {
      clearInterval(timer);
      await looking;
    },
  };
}

/** A pack's head says how many objects follow (gitformat-pack(5)); 0 where it is not there yet. */
async function countObjects(file: string): Promise<number> {
  const handle = await open(file, 'r').catch(() => undefined);
  if (handle === undefined) return 0;
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(12), 0, 12, 0);
    return bytesRead === 12 && buffer.toString('latin1', 0, 4) === 'PACK' ? buffer.readUInt32BE(8) : 0;
  } finally {
    await handle.close();
  }
}
