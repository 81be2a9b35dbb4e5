import { JobFailed } from '../../../core/queue/job-queue.ts';

/** What would let a file of an app change the image around it is refused, by name. `text` is latin1 (raw bytes). */
export function refuse(path: string, reason: string): JobFailed {
  const shown = Buffer.from(path.length > 200 ? `${path.slice(0, 200)}…` : path, 'latin1').toString();
  return new JobFailed(`${JSON.stringify(shown)} cannot enter the image: ${reason}`);
}

/**
 * A path from outside as parts joined by single slashes, without a leading one: `./a//b/` gives `a/b`, the root gives ''.
 * Errors: JobFailed for `..`, for names longer than Linux takes, and for whiteouts, which would delete files of the base.
 */
export function cleanPath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  for (const part of parts) {
    if (part === '..') throw refuse(path, "a path may not contain '..'");
    // image-spec "Whiteouts": a file of this name makes engines delete another one.
    if (part.startsWith('.wh.')) throw refuse(path, "names that begin with '.wh.' mean deletion in a layer");
    if (part.includes('\0')) throw refuse(path, 'it contains a NUL');
    if (part.length > 255) throw refuse(path, 'a part of it is longer than 255 bytes');
  }
  const cleaned = parts.join('/');
  if (cleaned.length > 4095) throw refuse(path, 'it is longer than 4,095 bytes');
  return cleaned;
}

/**
 * Files of an app lie under its own directory and nowhere else. A layer that names `/lib` or `/etc/passwd` would replace
 * the base's symlink or file and with it the whole image. `directory` is absolute, e.g. `/home/shop`.
 */
export function isInside(path: string, directory: string): boolean {
  return path.startsWith(`${directory.slice(1)}/`);
}

/** True when `path` is `directory` or one of its parents. */
export function isAbove(path: string, directory: string): boolean {
  return path === '' || `${directory.slice(1)}/`.startsWith(`${path}/`);
}

/** Errors: JobFailed when `directory` would cover a part of the base instead of a place of its own. */
export function checkDirectory(directory: string): void {
  const clean = cleanPath(directory);
  if (`/${clean}` !== directory || !directory.startsWith('/home/') || isAbove(clean, '/home')) {
    throw new JobFailed(`an app's files lie below /home, not in ${JSON.stringify(directory)}`);
  }
}
