/** Where a Redis server is, and as whom to sign in there. */
export interface RedisAddress {
  /** Undefined with `path`. */
  readonly host: string | undefined;
  readonly port: number;
  /** Of a Unix socket. */
  readonly path: string | undefined;
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** Number of the database. */
  readonly db: number;
  /** For people and the log: without account and password. */
  readonly name: string;
}

const example = 'redis://:PASSWORD@redis.example.com:6379/0';

/**
 * Reads `redis://[[user]:password@]host[:port][/database]`, the same with `rediss:` for TLS, and `unix:///path/of/socket`. The vendor's own
 * reading takes any word after a `?` for one of its options.
 * Answers with a text for people when it is none of these, which never repeats what was written, as that may hold a password.
 */
export function parseRedisAddress(text: string): RedisAddress | string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['redis:', 'rediss:', 'unix:'].includes(url.protocol)) {
    return `must be an address such as ${example} (rediss:// for TLS, unix:///run/redis.sock for a socket; special characters of a password as %XX)`;
  }
  if (url.search !== '' || url.hash !== '') {
    return `must end with the number of the database, without ? or # (in a password write %3F and %23): ${example}`;
  }
  const account = {
    username: decoded(url.username),
    password: decoded(url.password),
  };
  if (url.protocol === 'unix:') {
    if (url.host !== '' || url.pathname.length < 2)
      return 'must name a socket such as unix:///run/redis.sock';
    const path = decodeURIComponent(url.pathname);
    return { ...account, host: undefined, port: 0, path, tls: false, db: 0, name: path };
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (host === '') return `must name a host: ${example}`;
  const database = /^\/?(\d{0,4})$/.exec(url.pathname)?.[1];
  if (database === undefined)
    return `must have nothing but the number of a database behind the host: ${example}`;
  const port = url.port === '' ? 6379 : Number(url.port);
  return {
    ...account,
    host,
    port,
    path: undefined,
    tls: url.protocol === 'rediss:',
    db: Number(database),
    name: `${url.hostname}:${port}`,
  };
}

function decoded(part: string): string | undefined {
  if (part === '') return undefined;
  try {
    return decodeURIComponent(part);
  } catch {
    // A lone % is no escape, and stands for itself.
    return part;
  }
}
