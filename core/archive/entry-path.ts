import { ArchiveError } from './archive-error.ts';

/** Linux' PATH_MAX without its NUL, and NAME_MAX. Bytes. */
const longestPath = 4095;
const longestPart = 255;

/**
 * Where an entry lies below the archive's root: without `.`, empty parts and a slash at the end; '' is the root itself. `path` is raw
 * bytes as latin1. Errors: ArchiveError naming the entry when it is absolute, climbs out by `..`, or no Linux file can be called that.
 */
export function entryPath(path: string): string {
  const refuse = (reason: string): ArchiveError => new ArchiveError(`entry ${shownPath(path)}: ${reason}`);
  if (path.startsWith('/')) throw refuse('its path is absolute');
  if (path.includes('\0')) throw refuse('its path holds a NUL');
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw refuse('its path climbs out of the archive by ".."');
  if (parts.some((part) => part.length > longestPart)) {
    throw refuse(`a part of its path has more than ${longestPart} bytes`);
  }
  const clean = parts.join('/');
  if (clean.length > longestPath) throw refuse(`its path has more than ${longestPath} bytes`);
  return clean;
}

/** Raw bytes of a name (as latin1) for a message: quoted, of bounded length, and nothing in it can steer a terminal. */
export function shownPath(path: string): string {
  const text = Buffer.from(path.slice(0, 300), 'latin1').toString('utf8');
  return JSON.stringify(path.length > 300 ? `${text}…` : text).replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
