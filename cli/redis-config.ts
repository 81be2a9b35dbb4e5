import type { ValueFault } from '../core/config/settings.ts';
import { parseRedisAddress } from '../core/redis/redis-address.ts';
import { Type } from '../core/type.ts';
import { fault } from './config-checks.ts';

/** `redis`: what lets several machines hear of each other at once. Nothing is kept there that could be missed. */
export const redisSchema = Type.Object({
  url: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        'Address of a Redis server, `redis://:PASSWORD@redis.example.com:6379/0` (`rediss:` for TLS, `unix:///run/redis.sock`); without it machines look into the store for what is to do.',
      'x-secret': true,
      'x-check': checkUrl,
    }),
  ),
  prefix: Type.String({
    default: 'brickyard',
    minLength: 1,
    maxLength: 64,
    description: 'All keys and channels begin with it; several installations may share a server.',
    'x-check': (value: string) =>
      /^[A-Za-z0-9_.-]+$/.test(value) ? [] : fault('may hold letters, digits and -_.'),
  }),
});

function checkUrl(value: string): ValueFault[] {
  const address = parseRedisAddress(value);
  return typeof address === 'string' ? fault(address) : [];
}
