import { isIP } from 'node:net';

/**
 * What may stand in an nginx configuration that we write. Nothing is ever escaped: what is not of one of these forms is refused, so no value can
 * end a directive, open a block, name a variable or begin a comment.
 */
export interface NginxValue {
  test(text: string): boolean;
  /** Behind "must be". */
  readonly wanted: string;
}

const label = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
const namePattern = new RegExp(`^${label}(?:\\.${label})*$`);
const part = '[A-Za-z0-9_.+@=,~-]{1,255}';
const pathPattern = new RegExp(`^(?:/${part})+$`);

function isName(text: string): boolean {
  return text.length <= 253 && namePattern.test(text);
}

/** `host:port` taken apart; the host of an IPv6 address without its brackets. Undefined for what is none. */
export function parseHostPort(text: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([^[\]:/\s]{1,253})):([0-9]{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, v6, host, digits] = match;
  const port = Number(digits);
  if (port < 1 || port > 65_535) return undefined;
  if (v6 !== undefined) return isIP(v6) === 6 ? { host: v6, port } : undefined;
  return host !== undefined && isName(host) ? { host, port } : undefined;
}

/** Scheme and `host:port`, with the port also where it is the scheme's own. Undefined for what is none, or has a path. */
export function parseOrigin(
  text: string,
): { readonly scheme: 'http' | 'https'; readonly host: string; readonly hostPort: string } | undefined {
  const match = /^(https?):\/\/([^/]+)\/?$/.exec(text);
  const [, scheme, authority = ''] = match ?? [];
  if (scheme !== 'http' && scheme !== 'https') return undefined;
  const own = scheme === 'https' ? 443 : 80;
  const parsed = parseHostPort(authority) ?? parseHostPort(`${authority}:${own}`);
  if (parsed === undefined) return undefined;
  const { host, port } = parsed;
  const bracketed = host.includes(':') ? `[${host}]` : host;
  // As a client writes it: without the scheme's own port. That is what the signature of a presigned address is over.
  return {
    scheme,
    host: port === own ? bracketed : `${bracketed}:${port}`,
    hostPort: `${bracketed}:${port}`,
  };
}

export const nginxValues = {
  listen: {
    test: (text) => {
      const parsed = parseHostPort(text);
      return parsed !== undefined && isIP(parsed.host) !== 0;
    },
    wanted: 'an IP address and a port, e.g. 0.0.0.0:443 or [::]:443',
  },
  hostPort: {
    test: (text) => parseHostPort(text) !== undefined,
    wanted: 'a host and a port, e.g. 10.0.0.5:5000',
  },
  serverName: { test: (text) => text === '_' || isName(text), wanted: 'a host name, or _ for any' },
  origin: {
    test: (text) => parseOrigin(text) !== undefined,
    wanted: 'an address without a path, e.g. https://s3.example.com',
  },
  path: {
    test: (text) =>
      text.length <= 4096 &&
      pathPattern.test(text) &&
      !text.split('/').some((name) => name === '.' || name === '..'),
    wanted: 'an absolute path of letters, digits and _ . + @ = , ~ -',
  },
  prefix: {
    test: (text) => /^\/_[A-Za-z0-9_-]{1,40}\/$/.test(text),
    wanted: 'one name that begins with _ between slashes, e.g. /_bytes/',
  },
  size: { test: (text) => /^[1-9][0-9]{0,9}[kmg]$/.test(text), wanted: 'a size, e.g. 512m or 200g' },
  time: { test: (text) => /^[1-9][0-9]{0,5}[smhd]$/.test(text), wanted: 'a time, e.g. 90s, 15m or 30d' },
  user: { test: (text) => /^[a-z_][a-z0-9_-]{0,31}$/.test(text), wanted: 'the name of a system user' },
  network: {
    test: (text) => {
      const [, address = '', bits] = /^([0-9A-Fa-f:.]{2,45})(?:\/([0-9]{1,3}))?$/.exec(text) ?? [];
      const family = isIP(address);
      return family !== 0 && Number(bits ?? 0) <= (family === 6 ? 128 : 32);
    },
    wanted: 'a network, e.g. 10.8.0.0/16, or one IP address',
  },
  nameServer: {
    test: (text) => isIP(text) !== 0 || isIP(parseHostPort(text)?.host ?? '') !== 0,
    wanted: 'an IP address, with or without a port',
  },
} satisfies Record<string, NginxValue>;
