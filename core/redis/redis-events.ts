import { randomUUID } from 'node:crypto';
import type { EventRelay } from '../events.ts';
import type { JsonValue } from '../object-store/object-store.ts';
import { connectRedis, type RedisConnection } from './connect-redis.ts';
import { parseRedisAddress } from './redis-address.ts';

export interface RedisEventsOptions {
  /** As `parseRedisAddress` reads it. */
  readonly url: string;
  /** Begins the channel's name, so that several installations may share a server. */
  readonly prefix: string;
  /** Given every message that another machine published. */
  readonly deliver: (topic: string, message: JsonValue) => void;
  /** One line for the operator: that Redis cannot be reached, that it answers again, that messages are dropped. */
  readonly say: (line: string) => void;
}

/** Longer messages stay on their machine: who misses lines of a log reads them from the store. */
const maxMessageBytes = 256 * 1024;
/** Of messages that Redis has not answered to. */
const maxPendingBytes = 4 * 1024 * 1024;
const silentMs = 10_000;
const pingMs = 15_000;

/**
 * Messages between machines over one channel of Redis, which every machine listens on: what one machine says in a second is little, and a
 * subscription for each topic would cost a round trip before the first line of each log. Two connections, as one that listens may not speak.
 * Errors: TypeError when `url` is no address; never for a server that is away.
 */
export function createRedisEvents(options: RedisEventsOptions): EventRelay {
  const { say } = options;
  const channel = `${options.prefix}:events`;
  const self = randomUUID();
  const parsed = parseRedisAddress(options.url);
  const name = typeof parsed === 'string' ? '' : parsed.name;
  const failing = new Map<string, string>();
  let told = false;
  let pendingBytes = 0;
  let dropping = false;

  /** Says each change once, for both connections together. */
  const tellState = (connection: string) => (failure: Error | undefined) => {
    if (failure === undefined) failing.delete(connection);
    else failing.set(connection, failure.message);
    if (failure !== undefined && !told) {
      told = true;
      say(
        `Redis at ${name} cannot be used (${failure.message}); going on without it, what other machines do is noticed later`,
      );
    }
    if (told && failing.size === 0) {
      told = false;
      say(`Redis at ${name} answers again`);
    }
  };
  const connect = (role: string, onReady?: (it: RedisConnection) => void) => {
    const tell = tellState(role);
    const connection = connectRedis(
      { url: options.url, name: `brickyard-${role}`, whileAway: 'fail', silentMs },
      (failure) => {
        if (failure === undefined) onReady?.(connection);
        tell(failure);
      },
    );
    return connection;
  };

  const speaker = connect('speaker');
  const listener = connect('listener', (connection) => {
    connection.subscribe(channel).catch((error: unknown) => {
      tellState('listener')(error as Error);
      connection.disconnect(true);
    });
  });
  listener.on('message', (_channel: string, text: string) => {
    const received = parse(text);
    if (received !== undefined && received.from !== self) options.deliver(received.topic, received.message);
  });
  // Nobody else would notice that the other side of a connection on which nothing comes is gone.
  const pings = setInterval(() => {
    if (listener.status === 'ready') listener.ping().catch(() => {});
  }, pingMs);

  return {
    publish(topic, message) {
      // Before the first connection and between two there is nobody to hear it.
      if (speaker.status !== 'ready') return;
      const text = JSON.stringify([self, topic, message]);
      const bytes = Buffer.byteLength(text);
      if (bytes > maxMessageBytes) return;
      if (pendingBytes + bytes > maxPendingBytes) {
        if (!dropping) say(`Redis at ${name} answers too slowly; messages to other machines are dropped`);
        dropping = true;
        return;
      }
      pendingBytes += bytes;
      speaker
        .publish(channel, text)
        .catch(() => {})
        .finally(() => {
          pendingBytes -= bytes;
          if (pendingBytes === 0) dropping = false;
        });
    },
    close() {
      clearInterval(pings);
      speaker.disconnect();
      listener.disconnect();
      return Promise.resolve();
    },
  };
}

/** Undefined: not one of ours, e.g. of another version. */
function parse(text: string): { from: unknown; topic: string; message: JsonValue } | undefined {
  if (text.length > maxMessageBytes) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value) || value.length !== 3) return undefined;
  const [from, topic, message] = value as [unknown, unknown, JsonValue];
  return typeof topic === 'string' ? { from, topic, message } : undefined;
}
