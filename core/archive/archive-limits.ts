import { ArchiveError } from './archive-error.ts';

/** What one archive may be unpacked to. */
export interface ArchiveLimits {
  /** Default 250,000. */
  readonly entries?: number;
  /** Of all contents together. Default 16 GiB. */
  readonly bytes?: number;
  /** How many times its own size an archive may unpack to. Default 200; programs and documents reach 3 to 20, logs 50. */
  readonly ratio?: number;
  /** Bytes up to which the ratio does not count: a few pages of blanks are no attack. Default 64 MiB. */
  readonly ratioFrom?: number;
}

export type ResolvedLimits = Required<ArchiveLimits>;

export function resolveLimits(limits: ArchiveLimits): ResolvedLimits {
  const { entries = 250_000, bytes = 16 * 1024 ** 3, ratio = 200, ratioFrom = 64 * 1024 ** 2 } = limits;
  return { entries, bytes, ratio, ratioFrom };
}

/** `unpacked` bytes came of `packed` ones so far. Errors: ArchiveError when that is over the limit in size or in ratio. */
export function checkExpansion(unpacked: number, packed: number, most: ResolvedLimits): void {
  if (unpacked > most.bytes) throw new ArchiveError(`it unpacks to more than ${most.bytes} bytes`);
  if (unpacked > most.ratioFrom && unpacked > packed * most.ratio) {
    throw new ArchiveError(`it unpacks to more than ${most.ratio} times its size`);
  }
}
