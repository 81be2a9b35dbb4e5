/** Longer names are refused; git itself cannot store them as files on most systems. Bytes. */
const maximumLength = 512;

/**
 * The rules of git-check-ref-format(1) for full names under `refs/`. receive-pack leaves this check to its proc-receive hook,
 * which is us. Returns why the name is refused, undefined when it is fine.
 */
export function checkRefName(name: string): string | undefined {
  if (!name.startsWith('refs/')) return 'funny refname';
  if (name.includes('\ufffd')) return 'ref names must be UTF-8';
  if (Buffer.byteLength(name) > maximumLength) return `ref names are limited to ${maximumLength} bytes`;
  if (/[ ~^:?*[\\]|\p{Cc}/u.test(name) || name.includes('..') || name.includes('@{')) return 'funny refname';
  const parts = name.split('/');
  if (parts.length < 3 || name.endsWith('.')) return 'funny refname';
  for (const part of parts) {
    if (part === '' || part.startsWith('.') || part.endsWith('.lock')) return 'funny refname';
  }
  if (parts[1] === 'brickyard' && !/^refs\/brickyard\/[a-z0-9-]{1,64}$/.test(name))
    return 'reserved for brickyard build';
  return undefined;
}

/** Git cannot hold `refs/heads/a` and `refs/heads/a/b` at once. Returns the pair in the way, undefined when there is none. */
export function findRefConflict(names: Iterable<string>): { parent: string; child: string } | undefined {
  const all = new Set(names);
  for (const child of all) {
    for (let slash = child.lastIndexOf('/'); slash > 4; slash = child.lastIndexOf('/', slash - 1)) {
      const parent = child.slice(0, slash);
      if (all.has(parent)) return { parent, child };
    }
  }
  return undefined;
}
