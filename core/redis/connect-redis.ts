import { Redis } from 'ioredis';
import { parseRedisAddress, type RedisAddress } from './redis-address.ts';

/** A connection to one Redis server; the only type of the vendor's library that others see. */
export type RedisConnection = Redis;

export interface RedisConnectionOptions {
  /** As `parseRedisAddress` reads it. */
  readonly url: string;
  /** Shown by the server's CLIENT LIST. */
  readonly name: string;
  /**
   * What becomes of a command while there is no connection. `fail`: it is refused at once, for what is worthless a moment later. `wait`:
   * it is sent once the server answers, for what has nothing else to do.
   */
  readonly whileAway: 'fail' | 'wait';
  /** Milliseconds without an answer to a command after which the connection counts as dead, and another is made. */
  readonly silentMs: number;
}

const connectTimeoutMs = 5_000;
/** Between two tries: short at first, because a restarted server is back within a second. */
const retryMs = { first: 50, most: 5_000 };

/**
 * Starts to connect, and goes on trying for as long as it is not closed: a Redis that is away is never a reason to stop. `onState` is told of
 * every failure, and of every time that the server answers (undefined).
 * Errors: TypeError when `url` is no address.
 */
export function connectRedis(
  options: RedisConnectionOptions,
  onState: (failure: Error | undefined) => void,
): RedisConnection {
  const connection = new Redis(redisOptions(options));
  connection.on('error', onState);
  connection.on('ready', () => onState(undefined));
  return connection;
}

/** The same as the vendor's library takes it, for a library that makes its connections itself. Errors: as above. */
export function redisOptions(options: RedisConnectionOptions) {
  const address = parseRedisAddress(options.url);
  if (typeof address === 'string') throw new TypeError(`the address of Redis ${address}`);
  const waits = options.whileAway === 'wait';
  return {
    ...place(address),
    ...(address.username !== undefined && { username: address.username }),
    ...(address.password !== undefined && { password: address.password }),
    db: address.db,
    connectionName: options.name,
    connectTimeout: connectTimeoutMs,
    keepAlive: 10_000,
    socketTimeout: options.silentMs,
    retryStrategy: (times: number) => Math.min(retryMs.most, retryMs.first * 2 ** Math.min(times, 20)),
    // A server that became a replica takes no writes: the address may lead to the new one by now.
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? (waits ? 2 : 1) : false),
    enableOfflineQueue: waits,
    autoResendUnfulfilledCommands: waits,
    autoResubscribe: false,
    // The vendor's "for ever" is null.
    maxRetriesPerRequest: waits ? null : 0,
  };
}

function place(
  address: RedisAddress,
): { path: string } | { host: string; port: number; tls?: { servername: string } } {
  const { host, port, path } = address;
  if (host === undefined) return { path: path ?? '' };
  return { host, port, ...(address.tls && { tls: { servername: host } }) };
}
