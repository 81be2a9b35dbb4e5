import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createFilesystemStore, type FilesystemStore } from '../../core/object-store/filesystem.ts';
import type { S3Store } from '../../core/object-store/s3/driver.ts';
import type { RequestEvent } from '../../core/object-store/s3/requests.ts';
import { createS3Store } from '../../core/object-store/s3.ts';
import { UserError } from '../../core/user-error.ts';
import type { Config } from '../config.ts';

export type ServerStore = FilesystemStore | S3Store;

export interface OpenStoreOptions {
  /** Told of every request to an S3 store. */
  readonly onRequest?: (event: RequestEvent) => void;
}

/** The store that the configuration names; an S3 store is not asked anything yet. Errors: UserError. */
export function openStore(config: Config, options: OpenStoreOptions = {}): ServerStore {
  return config.store.type === 's3' ? openS3(config, options) : openFilesystem(config);
}

function openFilesystem(config: Config): FilesystemStore {
  const root = join(config.data, 'store');
  try {
    makeFolder(root);
  } catch (cause) {
    throw new UserError(
      `cannot make the data folder ${root}: ${(cause as Error).message}\n` +
        'Set another one with `data:` in brickyard.yaml or BRICKYARD_DATA.',
      { cause },
    );
  }
  return createFilesystemStore({ root });
}

function openS3(config: Config, { onRequest }: OpenStoreOptions): S3Store {
  const { bucket, region, sse, caFile, connectTimeout, idleTimeout, uploadBuffer, ...plain } =
    config.store.s3;
  if (bucket === undefined) {
    throw new UserError('store.type is s3, but store.s3.bucket (BRICKYARD_STORE_S3_BUCKET) is not set', {
      exitCode: 2,
    });
  }
  const { AWS_REGION, AWS_DEFAULT_REGION } = process.env;
  return createS3Store({
    ...plain,
    bucket,
    region: region ?? (AWS_REGION || AWS_DEFAULT_REGION || undefined),
    sse: sse === 'none' ? undefined : sse,
    ca: caFile === undefined ? undefined : readCa(caFile),
    connectTimeoutMs: connectTimeout * 1000,
    idleTimeoutMs: idleTimeout * 1000,
    uploadBufferBytes: uploadBuffer * 1024 * 1024,
    onRequest,
  });
}

function readCa(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new UserError(`cannot read store.s3.caFile: ${(cause as Error).message}`, { exitCode: 2, cause });
  }
}

/** `mkdirSync` with `recursive` turns for ever where a file system lets nobody make folders and says "no such file" (/proc, /sys). */
function makeFolder(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return;
  const parent = dirname(path);
  if (parent !== path) makeFolder(parent);
  try {
    mkdirSync(path);
  } catch (error) {
    // Another process of the same server may have been faster.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !statSync(path).isDirectory()) throw error;
  }
}
