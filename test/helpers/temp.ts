import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TempDirectory extends AsyncDisposable {
  readonly path: string;
  /** Removes it with all it holds; a second call is no error. */
  remove(): Promise<void>;
}

/** A new directory under the system's temporary folder. The caller removes it (or says `await using`). */
export async function createTempDirectory(purpose = 'test'): Promise<TempDirectory> {
  // Short, because a Unix socket's path may have 107 bytes only.
  const path = await mkdtemp(join(tmpdir(), `by-${purpose}-`));
  const remove = (): Promise<void> =>
    rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  return { path, remove, [Symbol.asyncDispose]: remove };
}
