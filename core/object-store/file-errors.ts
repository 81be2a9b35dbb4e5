import { ObjectStoreFull, ObjectStoreUnavailable } from './object-store.ts';

/** The `code` of an error of the operating system. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Anything but "not there" is "could not look". Our own errors pass through. */
export function unavailable(what: string, error: unknown): Error {
  const code = errorCode(error);
  if (code === undefined && error instanceof Error) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new ObjectStoreFull(`${what}: the disk is full: free space or enlarge it`, { cause: error });
  }
  return new ObjectStoreUnavailable(`${what}: ${code ?? String(error)}`, { cause: error });
}
