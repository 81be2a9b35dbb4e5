/** The first git that connects where it is told to (`http.curloptResolve`): an older one could be led elsewhere by DNS. */
const leastMinor = 37;

/** First releases of each line of 2.x without CVE-2025-48384, from git's release notes. */
const patched: ReadonlyMap<number, number> = new Map([
  [43, 7],
  [44, 4],
  [45, 4],
  [46, 4],
  [47, 3],
  [48, 2],
  [49, 1],
  [50, 1],
]);

export interface GitVersion {
  readonly version: string;
  /** False: repositories elsewhere cannot be fetched safely with it. */
  readonly usable: boolean;
  /** False: it has known holes, unless whoever packaged it has closed them (Debian does, without a new number). */
  readonly patched: boolean;
}

/** Reads what `git --version` says; undefined when that is nothing known. */
export function parseGitVersion(text: string): GitVersion | undefined {
  const match = /^git version (\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  if (match === null) return undefined;
  const [, major = 0, minor = 0, patch = 0] = match.map(Number);
  const newest = Math.max(...patched.keys());
  return {
    version: `${major}.${minor}.${patch}`,
    usable: major > 2 || (major === 2 && minor >= leastMinor),
    patched: major > 2 || minor > newest || patch >= (patched.get(minor) ?? Infinity),
  };
}
