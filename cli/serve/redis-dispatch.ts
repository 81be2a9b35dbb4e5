import type { Logger } from '../../core/log.ts';
import type { DispatchChannel } from '../../core/queue/dispatch-channel.ts';
import { createFallbackChannel } from '../../core/queue/fallback-channel.ts';
import type { Config } from '../config.ts';

/** How builds are handed to workers where there is a Redis. */
export interface RedisDispatch {
  /** By Redis, and by the queue's own way where that does not do. */
  readonly over: (own: DispatchChannel) => DispatchChannel;
  /** After the workers are closed. */
  close(): Promise<void>;
}

/** Undefined without `redis.url`; the libraries are not loaded then. A Redis that is away is no error. */
export async function openRedisDispatch(config: Config, log: Logger): Promise<RedisDispatch | undefined> {
  const { url, prefix } = config.redis;
  if (url === undefined) return undefined;
  const { createBullmqChannel } = await import('../../core/queue/bullmq.ts');
  const channel = createBullmqChannel({
    url,
    prefix,
    name: 'builds',
    onError: (error) => log.warn({ err: error }, 'builds are handed to workers by way of the store for now'),
  });
  return { over: (own) => createFallbackChannel(channel, own), close: () => channel.close() };
}
