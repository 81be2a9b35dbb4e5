import { mkdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { run } from './process.ts';

export interface GoProgram {
  /** What `go install` takes, without the version. */
  readonly path: string;
  /** The version that was tried here; `@latest` would be another one tomorrow. */
  readonly version: string;
}

export const minioProgram: GoProgram = {
  path: 'github.com/minio/minio',
  version: 'v0.0.0-20260212201848-7aac2a2c5b7c',
};
export const distributionProgram: GoProgram = {
  path: 'github.com/distribution/distribution/v3/cmd/registry',
  version: 'v3.1.2',
};
export const craneProgram: GoProgram = {
  path: 'github.com/google/go-containerregistry/cmd/crane',
  version: 'v0.20.6',
};
/** What Compose v2 reads its files with. */
export const composeProgram: GoProgram = {
  path: 'github.com/compose-spec/compose-go/v2/cmd',
  version: 'v2.9.1',
};

/**
 * The program's file, built by Go's own client from its module proxy (minutes), or as an earlier call left it. Undefined: this machine has
 * no Go. Errors: it cannot be fetched or built.
 */
export async function buildGoProgram({ path, version }: GoProgram): Promise<string | undefined> {
  const folder = resolve(import.meta.dirname, '../../node_modules/.cache/brickyard/go', version);
  const file = join(folder, path.split('/').at(-1) ?? path);
  if ((await stat(file).catch(() => undefined))?.isFile() === true) return file;
  if ((await run('sh', ['-c', 'command -v go'])).code !== 0) return undefined;
  await mkdir(folder, { recursive: true });
  const built = await run('go', ['install', `${path}@${version}`], {
    env: { GOBIN: folder, GOFLAGS: '-buildvcs=false' },
    timeoutMs: 900_000,
  });
  if (built.code !== 0) throw new Error(`go install ${path}@${version}: ${built.stderr.slice(-2_000)}`);
  return file;
}
