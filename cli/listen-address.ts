import { BlockList, isIP } from 'node:net';

export interface ListenAddress {
  /** An IP address, or a host name; `localhost` was already turned into 127.0.0.1. */
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
}

/** `127.0.0.1:5000`, `[::1]:5000`, `registry.example.com:443`; undefined when it is none. A port alone is refused: it would hide that it means every address. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, v6, name, digits] = match;
  const port = Number(digits);
  if (port > 65_535) return undefined;
  if (v6 !== undefined) return isIP(v6) === 6 ? { host: v6, port } : undefined;
  // A hosts file may send `localhost` elsewhere; here it must mean what people take it for.
  const host = name?.toLowerCase() === 'localhost' ? '127.0.0.1' : (name ?? '');
  return { host, port };
}

export function formatListenAddress({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True only for addresses that no other machine can reach. A name is never trusted: it means what DNS says at the moment. */
export function isLoopback(host: string): boolean {
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  const family = isIP(host);
  // The list also reads IPv4 addresses that are written as IPv6 (`::ffff:127.0.0.1`).
  return family !== 0 && loopback.check(host, family === 6 ? 'ipv6' : 'ipv4');
}
