import { isIPv6 } from 'node:net';
import { createBoundedCache } from '../bounded-cache.ts';

/** Counts failed attempts to sign in. */
export interface AttemptLimiter {
  /** Seconds until this pair may try again; 0 = now. */
  delay(user: string, address: string): number;
  failed(user: string, address: string): void;
  succeeded(user: string, address: string): void;
}

export interface AttemptLimits {
  /** Failures of one account from one address within the window; default 10. */
  readonly perUser?: number;
  /** Failures from one address, whatever the account; default 50. */
  readonly perAddress?: number;
  /** Seconds; default 60. */
  readonly window?: number;
}

interface Count {
  failures: number;
  readonly until: number;
}

/**
 * Per account and address, so that nobody can lock somebody else out from elsewhere; and per address, against trying one
 * password on many accounts. The memory is bounded, each process counts for itself. `now` in milliseconds.
 */
export function createAttemptLimiter(
  limits: AttemptLimits = {},
  now: () => number = Date.now,
): AttemptLimiter {
  const { perUser = 10, perAddress = 50, window = 60 } = limits;
  const counts = createBoundedCache<string, Count>(20_000);

  const live = (key: string): Count | undefined => {
    const count = counts.get(key);
    return count !== undefined && count.until > now() ? count : undefined;
  };
  const wait = (key: string, limit: number): number => {
    const count = live(key);
    return count === undefined || count.failures < limit ? 0 : Math.ceil((count.until - now()) / 1000);
  };
  const add = (key: string): void => {
    const count = live(key);
    if (count === undefined) counts.set(key, { failures: 1, until: now() + window * 1000 });
    else count.failures += 1;
  };

  return {
    delay: (user, address) =>
      Math.max(wait(pairKey(user, address), perUser), wait(addressKey(address), perAddress)),
    failed(user, address) {
      add(pairKey(user, address));
      add(addressKey(address));
    },
    succeeded(user, address) {
      counts.delete(pairKey(user, address));
    },
  };
}

function pairKey(user: string, address: string): string {
  return `${addressKey(address)} ${user}`;
}

/** One customer commonly holds a whole IPv6 /64, and could otherwise take a new address for each attempt. */
function addressKey(address: string): string {
  return isIPv6(address) && !address.startsWith('::ffff:') ? ipv6Prefix(address) : address;
}

function ipv6Prefix(address: string): string {
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const filler =
    tail === undefined ? [] : Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0');
  return [...left, ...filler, ...right].slice(0, 4).join(':');
}
