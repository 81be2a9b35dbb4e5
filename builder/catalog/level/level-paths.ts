/**
 * What a run leaves behind that is no part of an image, or differs each time: the engine's own files, logs, caches, lists, backups. As if the
 * run had not touched them: the parent's stay.
 */
const exact = new Set([
  '.dockerenv',
  'etc/hosts',
  'etc/hostname',
  'etc/machine-id',
  'etc/mtab',
  'etc/resolv.conf',
  // Ours, so that nothing is started while packages are set up.
  'usr/sbin/policy-rc.d',
  'var/lib/dbus/machine-id',
  'var/lib/dpkg/lock',
  'var/lib/dpkg/lock-frontend',
  'var/lib/dpkg/triggers/Lock',
]);

const below = [
  'dev',
  'proc',
  'root/.cache',
  'run',
  'sys',
  'tmp',
  'var/cache/apt',
  'var/cache/ldconfig',
  'var/lib/apt/lists',
  'var/tmp',
];

const patterns = [
  // Backups of dpkg, debconf and of the account tools; what `--force-confold` lays beside.
  /^var\/lib\/dpkg\/[a-z]+-old$/,
  /^var\/cache\/debconf\/[a-z]+\.dat-old$/,
  /^etc\/(?:passwd|group|shadow|gshadow|subuid|subgid)-$/,
  /\.dpkg-(?:old|new|dist|tmp)$/,
];

/** `path` has no slash at its start. */
export function isLeftOut(path: string, type?: string): boolean {
  if (exact.has(path)) return true;
  if (below.some((folder) => path === folder || path.startsWith(`${folder}/`))) return true;
  // Programs expect their directories for logs; what they wrote while they were set up holds dates.
  if (path.startsWith('var/log/') && type !== 'directory') return true;
  return patterns.some((pattern) => pattern.test(path));
}
