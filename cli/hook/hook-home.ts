import { createHash } from 'node:crypto';
import { chmod, chown, lstat, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../core/user-error.ts';
import { hookMarker } from './shell-text.ts';

/** Who owns the repository: its hooks run as that account, so what they need belongs to it. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface HookFile {
  readonly path: string;
  readonly text: string | Uint8Array;
  /** Default: readable by the owner alone. */
  readonly mode?: number;
}

export async function ownerOf(folder: string): Promise<Owner> {
  const { uid, gid } = await stat(folder);
  return { uid, gid };
}

/** The folder with the spool, private. What waits there already stays. */
export async function prepareHome(home: string, owner: Owner): Promise<void> {
  for (const folder of [home, ...['spool', 'answers', 'refused'].map((name) => join(home, name))]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
    await give(folder, owner);
  }
}

/** Written beside and renamed: a hook that runs meanwhile is the old one or the new one. */
export async function writeHookFile({ path, text, mode = 0o600 }: HookFile, owner: Owner): Promise<void> {
  const temporary = `${path}.${process.pid}.new`;
  try {
    await writeFile(temporary, text, { mode, flag: 'wx' });
    await chmod(temporary, mode);
    await give(temporary, owner);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Another program's hook is kept beside ours, which runs it first. Errors: UserError when there are two to keep. */
export async function putHook(path: string, text: string, owner: Owner): Promise<void> {
  const present = await readHook(path);
  if (present !== undefined && !present.includes(hookMarker)) {
    const previous = previousOf(path);
    if (await exists(previous)) {
      throw new UserError(`${path} is not ours, and ${previous} is there already: remove one of them`);
    }
    await rename(path, previous);
  }
  await writeHookFile({ path, text, mode: 0o755 }, owner);
}

/** Puts back what was there before. False: there is no hook of ours. */
export async function takeHook(path: string): Promise<boolean> {
  const present = await readHook(path);
  const ours = present?.includes(hookMarker) === true;
  const previous = previousOf(path);
  if (!ours) return false;
  if (await exists(previous)) await rename(previous, path);
  else await rm(path);
  return true;
}

/** Where the hook is that was there before ours. */
export function previousOf(path: string): string {
  return `${path}.before-brickyard`;
}

/** Undefined: there is none. */
export async function readHook(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * The two padded forms of a key as HMAC-SHA256 takes them (RFC 2104): with them the hook can sign by a checksum program alone, which gets no
 * secret as an argument.
 */
export function hmacPads(secret: string): { readonly inner: Uint8Array; readonly outer: Uint8Array } {
  const blockBytes = 64;
  const bytes = Buffer.from(secret);
  const key = Buffer.alloc(blockBytes);
  (bytes.length > blockBytes ? createHash('sha256').update(bytes).digest() : bytes).copy(key);
  return { inner: key.map((byte) => byte ^ 0x36), outer: key.map((byte) => byte ^ 0x5c) };
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** Only root can, and only root has to. */
export async function give(path: string, { uid, gid }: Owner): Promise<void> {
  if (process.getuid?.() === 0) await chown(path, uid, gid);
}
