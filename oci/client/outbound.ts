import { BlockList, isIP } from 'node:net';

/**
 * Where a client may be led by a server that nobody vouches for: to its token service and to whatever it redirects to.
 * Without rules a client follows any realm (telling it no password) and any redirect (without Authorization), which is right
 * for a person's command and wrong for a service within somebody's network.
 */
export interface OutboundRules {
  /** Token services (`host[:port]`) beside the registry itself; they see the password. Any other realm is refused. */
  readonly realmHosts: readonly string[];
  /** Hosts (`host[:port]`) that a redirect may lead to although their addresses are not public. */
  readonly redirectHosts: readonly string[];
}

export interface Outbound {
  /** False: neither password nor scope may be sent there. */
  mayAskForToken(realm: URL): boolean;
  /** True: the token service may be told the password. */
  mayKnowPassword(realm: URL): boolean;
  mayRedirect(target: URL): boolean;
  /** Asked for every address that is connected to, after DNS and before the connection: a name may change what it means. */
  readonly mayConnect: (host: string, address: string) => boolean;
}

/**
 * `registry` itself and the hosts that somebody listed are trusted: they may have any address, and plain HTTP where the registry has it too.
 * All others need HTTPS and a public address, so that no answer makes us ask what only machines of this network can reach (a
 * cloud's metadata at 169.254.169.254, a database on loopback).
 */
export function createOutbound(registry: URL, rules: OutboundRules): Outbound {
  const realms = [registry.host, ...rules.realmHosts];
  const trusted = new Set([registry.host, ...rules.realmHosts, ...rules.redirectHosts].map(hostnameOf));
  const scheme = (url: URL): boolean => url.protocol === 'https:' || url.protocol === registry.protocol;
  const isRealm = (realm: URL): boolean => scheme(realm) && realms.includes(realm.host);
  return {
    mayAskForToken: isRealm,
    mayKnowPassword: isRealm,
    mayRedirect(target) {
      if (!scheme(target)) return false;
      if (trusted.has(target.hostname)) return true;
      const address = target.hostname.replace(/^\[|\]$/g, '');
      return target.protocol === 'https:' && (isIP(address) === 0 || isPublicAddress(address));
    },
    mayConnect: (host, address) => trusted.has(host) || isPublicAddress(address),
  };
}

/** Of `host[:port]` as a URL spells it: IPv6 in brackets. */
function hostnameOf(host: string): string {
  return URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname : host;
}

/**
 * False for every range of the IANA special-purpose registries that is not reached over the internet, and for IPv6 addresses that
 * embed an IPv4 one: whoever has a public name for a server needs none of them.
 */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !inSubnets(address, 'ipv4', special4);
  return family === 6 && !inSubnets(address, 'ipv6', special6);
}

type Subnets = readonly (readonly [network: string, bits: number])[];

/** One family at a time: a BlockList takes an IPv4 address for its IPv6 form as well. */
function inSubnets(address: string, family: 'ipv4' | 'ipv6', subnets: Subnets): boolean {
  const list = new BlockList();
  for (const [network, bits] of subnets) list.addSubnet(network, bits, family);
  return list.check(address, family);
}

const special4: Subnets = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
];

/** Only 2000::/3 is handed out; within it Teredo, documentation and 6to4 are refused. */
const special6: Subnets = [
  ['::', 3],
  ['4000::', 2],
  ['8000::', 1],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
];
