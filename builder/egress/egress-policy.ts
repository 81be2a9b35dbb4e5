import { isIP } from 'node:net';
import { createNetworks } from '../../core/http/networks.ts';
import { isPublicAddress } from '../../oci/client/outbound.ts';

/** What the operator says about the network of builds. */
export interface EgressRules {
  /** See `parseEgressHost`. */
  readonly allow: readonly string[];
  /** Addresses (URLs) of package mirrors; their hosts and ports count as listed. */
  readonly mirrors: readonly string[];
}

/** Whom one step of a build may ask. */
export interface EgressPolicy {
  /** Why a host may not be asked, with what to do about it; undefined = it may, if `mayConnect` takes its address. */
  refusal(host: string, port: number): string | undefined;
  /** Of every address that is connected to, after the only question to DNS. */
  mayConnect(host: string, port: number, address: string): boolean;
}

/** One entry of `allow`. */
export interface EgressHost {
  /** In lower case; without brackets. */
  readonly host: string;
  /** The host is a domain, and all names below it are meant. */
  readonly below: boolean;
  /** Undefined = 80 and 443. */
  readonly port: number | undefined;
}

const webPorts = [80, 443];

/** What a company's own network has: neither this machine nor what only the link knows, such as a cloud's metadata service. */
const isPrivate = createNetworks([
  '10.0.0.0/8',
  '100.64.0.0/10',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '198.18.0.0/15',
  'fc00::/7',
]);

/** `host`, `host:port`, `*.domain`, `*.domain:port`, an address, `[IPv6]:port`; undefined = none of them. */
export function parseEgressHost(text: string): EgressHost | undefined {
  const [, name = '', portText] = /^(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?$/.exec(text) ?? [];
  const plain = isIP(text) === 6 ? text : name.replace(/^\[|\]$/g, '');
  const port = portText === undefined || isIP(text) === 6 ? undefined : Number(portText);
  if (port !== undefined && (port < 1 || port > 65_535)) return undefined;
  const host = normalHost(plain.replace(/^\*\./, ''));
  const below = plain.startsWith('*.');
  if (isIP(host) !== 0) return below ? undefined : { host, below, port };
  const labels = host.split('.');
  // `*.com` would open the private network to whoever buys a name.
  if (below && labels.length < 2) return undefined;
  return labels.every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label))
    ? { host, below, port }
    : undefined;
}

/**
 * `proxy`: only listed hosts. `open`: also every public address, on the ports of the web. A listed host may lie in a private network; on this
 * machine or at a link-local address only where that address itself (or `localhost`) is listed, as a name may change what it means.
 * Errors: TypeError for an entry that is none.
 */
export function createEgressPolicy(network: 'proxy' | 'open', rules: EgressRules): EgressPolicy {
  const listed = [...rules.allow.map(requireHost), ...rules.mirrors.map(mirrorHost)];
  const isListed = (host: string, port: number): boolean =>
    listed.some(
      (entry) =>
        (entry.below ? host.endsWith(`.${entry.host}`) : host === entry.host) &&
        (entry.port === undefined ? webPorts.includes(port) : port === entry.port),
    );

  return {
    refusal(text, port) {
      const host = normalHost(text);
      if (isListed(host, port)) return undefined;
      if (network === 'proxy') {
        return '"network: proxy" reaches listed hosts only; whoever runs the server lists it in builder.sandbox.egress.allow';
      }
      if (!webPorts.includes(port)) {
        return 'only ports 80 and 443 are open; whoever runs the server lists HOST:PORT in builder.sandbox.egress.allow';
      }
      return isIP(host) !== 0 && !isPublicAddress(host) ? privateReason : undefined;
    },

    mayConnect(text, port, address) {
      if (isPublicAddress(address)) return true;
      const host = normalHost(text);
      return isListed(host, port) && (isPrivate(address) || host === address || host === 'localhost');
    },
  };
}

export const privateReason =
  'its address is not public; whoever runs the server lists the host in builder.sandbox.egress.allow if builds need it';

/** As it is compared: `EXAMPLE.com.` and `[::1]` are `example.com` and `::1`. */
export function normalHost(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');
}

function requireHost(text: string): EgressHost {
  const host = parseEgressHost(text);
  if (host === undefined) throw new TypeError(`not a host: ${text}`);
  return host;
}

function mirrorHost(address: string): EgressHost {
  const { hostname, port, protocol } = new URL(address);
  return {
    host: normalHost(hostname),
    below: false,
    port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port),
  };
}
