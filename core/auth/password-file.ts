import { readFileSync, statSync } from 'node:fs';
import { UserError } from '../user-error.ts';
import { bcryptCost, parseHtpasswd } from './htpasswd.ts';

/** Where accounts and their bcrypt hashes come from. */
export interface PasswordSource {
  /** The account's bcrypt hash as it stands now; undefined = no such account. */
  find(name: string): string | undefined;
  /** The highest bcrypt cost among the accounts: what a question about an unknown account must cost too. */
  cost(): number;
}

/** Static fields and a sentence, as pino takes them. */
export type Warn = (fields: object, message: string) => void;

/**
 * An htpasswd file, read again as soon as it changed: whoever was removed is out with the next request.
 * Errors at creation: UserError (cannot be read, or its faults with file and line). Later, a line with a fault lets nobody in and
 * a file that is gone has no accounts; both are told to `warn`.
 */
export function createPasswordFile({ file, warn = () => {} }: { file: string; warn?: Warn }): PasswordSource {
  let version = '';
  let users: ReadonlyMap<string, string> = new Map();
  let cost = 10;

  const load = (): readonly string[] => {
    const seen = versionOf(file);
    const read = parseHtpasswd(readFileSync(file, 'utf8'));
    // The version from before the reading: a change during it is noticed by the next request.
    version = seen;
    users = read.users;
    cost = Math.max(4, ...[...users.values()].map((hash) => bcryptCost(hash) ?? 4));
    return read.faults.map((fault) => `${file}:${fault.line}: ${fault.message}`);
  };

  const refresh = (): void => {
    try {
      // One stat a request (about 2 µs) buys that a removed account is out at once, in every process.
      if (versionOf(file) === version) return;
      const faults = load();
      if (faults.length > 0) warn({ faults }, 'htpasswd lines with faults let nobody in');
    } catch (error) {
      users = new Map();
      if (version !== 'unreadable')
        warn({ file, err: error }, 'htpasswd file cannot be read, nobody can sign in');
      version = 'unreadable';
    }
  };

  let faults: readonly string[];
  try {
    faults = load();
  } catch (cause) {
    throw new UserError(`cannot read the accounts in ${file}: ${(cause as Error).message}`, { cause });
  }
  if (faults.length > 0) throw new UserError(faults.join('\n'));

  return {
    find(name) {
      refresh();
      return users.get(name);
    },
    cost: () => cost,
  };
}

function versionOf(file: string): string {
  const { ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true });
  return `${ino}-${size}-${mtimeNs}-${ctimeNs}`;
}
