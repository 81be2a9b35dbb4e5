/** A file of accounts as Apache's `htpasswd -B` writes it: one `name:bcrypt hash` a line; empty lines and `#` comments are kept. */
export interface Htpasswd {
  /** Name → bcrypt hash, in the order of the file. */
  readonly users: ReadonlyMap<string, string>;
  readonly faults: readonly HtpasswdFault[];
}

export interface HtpasswdFault {
  /** 1-based. */
  readonly line: number;
  readonly message: string;
}

/** bcryptjs and Apache need seconds above this; a hash that takes minutes would only stop the service. */
const maxCost = 15;
const bcryptShape = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;
const userShape = /^[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,62}[A-Za-z0-9])?$/;

/** 1–64 letters, digits, `.`, `_`, `@`, `-`, ending in a letter or digit; `anonymous` means something else. */
export function isUserName(text: string): boolean {
  return userShape.test(text) && text.toLowerCase() !== 'anonymous';
}

export function bcryptCost(hash: string): number | undefined {
  const match = bcryptShape.exec(hash);
  return match === null ? undefined : Number(match[1]);
}

/** Faults never quote the hash. A line with a fault names no user: it lets nobody in. */
export function parseHtpasswd(text: string): Htpasswd {
  const users = new Map<string, string>();
  const faults: HtpasswdFault[] = [];
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const entry = raw.trim();
    if (entry === '' || entry.startsWith('#')) continue;
    const colon = entry.indexOf(':');
    const name = colon < 0 ? '' : entry.slice(0, colon);
    const hash = entry.slice(colon + 1);
    const message =
      lineFault(colon, name, hash) ?? (users.has(name) ? `"${name}" stands here twice` : undefined);
    if (message === undefined) users.set(name, hash);
    else faults.push({ line: index + 1, message });
  }
  return { users, faults };
}

function lineFault(colon: number, name: string, hash: string): string | undefined {
  if (colon < 0) return 'expected name:hash';
  if (!isUserName(name))
    return 'the name before ":" is no account name (letters, digits, . _ @ -; not "anonymous")';
  const cost = bcryptCost(hash);
  if (cost === undefined) {
    return `the password of "${name}" is stored as ${hashKind(hash)}; only bcrypt is accepted: brickyard user add ${name}`;
  }
  if (cost < 4 || cost > maxCost)
    return `the bcrypt cost of "${name}" is ${cost}; 4 to ${maxCost} are accepted`;
  return undefined;
}

function hashKind(hash: string): string {
  if (hash.startsWith('$apr1$')) return 'MD5 (apr1)';
  if (hash.startsWith('{SHA}')) return 'SHA-1';
  if (hash.startsWith('$5$')) return 'SHA-256 crypt';
  if (hash.startsWith('$6$')) return 'SHA-512 crypt';
  if (hash.startsWith('$2')) return 'a damaged bcrypt hash';
  return 'something that is no bcrypt hash';
}

/** The text with the user's line replaced or appended; every other line stays as it is. */
export function setHtpasswdUser(text: string, name: string, hash: string): string {
  const entry = `${name}:${hash}`;
  const lines = withoutUser(text, name, entry);
  return lines.includes(entry) ? joined(lines) : `${joined(lines)}${entry}\n`;
}

/** Undefined when there is no such user. */
export function removeHtpasswdUser(text: string, name: string): string | undefined {
  const lines = withoutUser(text, name);
  return joined(lines) === joined(text.split('\n')) ? undefined : joined(lines);
}

function withoutUser(text: string, name: string, replacement?: string): string[] {
  let replaced = false;
  return text.split('\n').flatMap((line) => {
    if (!line.trim().startsWith(`${name}:`)) return [line];
    if (replacement === undefined || replaced) return [];
    replaced = true;
    return [replacement];
  });
}

function joined(lines: readonly string[]): string {
  const text = lines.join('\n').replace(/\n+$/, '');
  return text === '' ? '' : `${text.replace(/^\n+/, '')}\n`;
}
