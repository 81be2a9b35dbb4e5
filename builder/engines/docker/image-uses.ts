import { mkdir, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * When base images that were loaded into the engine were used last. Engines do not tell (Docker knows when a name was given, Podman not even that), so each
 * use touches a file of this machine's cache folder: several processes can, and it survives them. All of it may be lost; an image that nobody notes any
 * more only stays.
 */
export interface ImageUses {
  /** The image is used now. Errors: those of the file system. */
  note(name: string): Promise<void>;
  /** Names of images that nobody used since `before` (milliseconds since 1970). Errors: those of the file system. */
  unusedSince(before: number): Promise<readonly string[]>;
  /** The image is gone. Errors: those of the file system. */
  forget(name: string): Promise<void>;
}

/** `folder` is made when it is missing. */
export function createImageUses(folder: string): ImageUses {
  const fileOf = (name: string): string => join(folder, encodeURIComponent(name));

  return {
    async note(name) {
      const now = new Date();
      try {
        await utimes(fileOf(name), now, now);
      } catch (error) {
        if (!isMissing(error)) throw error;
        await mkdir(folder, { recursive: true });
        await writeFile(fileOf(name), '');
      }
    },
    async unusedSince(before) {
      const unused: string[] = [];
      for (const file of await filesOf(folder)) {
        const { mtimeMs } = await stat(join(folder, file)).catch((error: unknown) => {
          if (isMissing(error)) return { mtimeMs: Number.POSITIVE_INFINITY };
          throw error;
        });
        if (mtimeMs < before) unused.push(decodeURIComponent(file));
      }
      return unused;
    },
    forget: (name) => rm(fileOf(name), { force: true }),
  };
}

async function filesOf(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
