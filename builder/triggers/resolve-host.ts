import { lookup as lookupName } from 'node:dns/promises';
import { isIP } from 'node:net';
import { isPublicAddress } from '../../oci/client/outbound.ts';

/** The host may not be connected to, or has no address. The message says why. */
export class HostRefused extends Error {
  override readonly name = 'HostRefused';
}

export type Lookup = (host: string) => Promise<readonly string[]>;

/**
 * The addresses of `host`, asked for once: whoever connects must connect to one of these, as a second question could get another
 * answer. One that is not public refuses them all, unless `privateNetwork`: who answers with both is up to something.
 * Errors: HostRefused; an Error when the name could not be looked up.
 */
export async function resolveHost(
  host: string,
  options: { readonly privateNetwork: boolean; readonly lookup?: Lookup },
): Promise<readonly string[]> {
  const { privateNetwork, lookup = systemLookup } = options;
  const addresses = isIP(host) === 0 ? await lookup(host) : [host];
  if (addresses.length === 0) throw new HostRefused(`${host} has no address`);
  const local = addresses.find(isLinkLocal);
  if (local !== undefined)
    throw new HostRefused(`${host} has the address ${local}, where no repository lives`);
  const wrong = privateNetwork ? undefined : addresses.find((address) => !isPublicAddress(address));
  if (wrong !== undefined) {
    throw new HostRefused(
      `${host} has the address ${wrong}, which is not public: where it is yours, say privateNetwork: true in its trigger`,
    );
  }
  return addresses;
}

/** The metadata services of clouds, which hand out the machine's own rights, are there; nothing else that has a name is. */
export function isLinkLocal(address: string): boolean {
  return /^(?:::ffff:)?169\.254\.|^fe[89ab][0-9a-f]:|^::ffff:a9fe:/i.test(address);
}

async function systemLookup(host: string): Promise<readonly string[]> {
  try {
    return (await lookupName(host, { all: true })).map(({ address }) => address);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOTFOUND') throw new HostRefused(`there is no host ${host}`, { cause });
    throw new Error(`${host} could not be looked up: ${code}`, { cause });
  }
}
