/** All keys of pools in the object store. */
export const leasesKey = 'pools/leases.json';

/** Ends in a slash. */
export const popularityPrefix = 'pools/popularity/';

/** By account and name: an account cannot write what another one's pool says. */
export function popularityKey(account: string, pool: string): string {
  // Accounts may have characters that keys may not, and a key's part has at most 255 bytes.
  return `${popularityPrefix}${Buffer.from(account).toString('base64url').slice(0, 200)}/${pool}.json`;
}
