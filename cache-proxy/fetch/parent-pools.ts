import { readFileSync } from 'node:fs';
import { type Answer, createTransport } from '../../oci/client/transport.ts';
import type { Pool } from '../pools/pool.ts';

/** Other pools that are asked for what lies in their caches, before the origin is. */
export interface ParentPools {
  /** The same piece from the first that has it; undefined: none has, or none could say so in time. The caller consumes or destroys the body. */
  fetch(path: string, range: string | undefined): Promise<Answer | undefined>;
  close(): void;
}

/** What a parent does not answer within, the origin is asked for. */
const patienceMs = 1_500;
/** One that did not answer is left alone for so long. */
const restMs = 10_000;
/** Without a byte in the middle; then the origin sends the rest. */
const stallMs = 10_000;

/**
 * They are asked with the pool's own account, and for what they have already (`only-if-cached`, RFC 9111 5.2.1.7): two pools that ask each other can
 * never go round. Undefined where there are none. Errors: those of reading `origin.ca`.
 */
export function createParentPools({ parents, origin }: Pool): ParentPools | undefined {
  if (parents.length === 0) return undefined;
  const transport = createTransport({
    maxSockets: 256,
    timeoutMs: stallMs,
    ...(origin.ca === undefined ? {} : { ca: readFileSync(origin.ca, 'utf8') }),
  });
  const { credential } = origin;
  const basic =
    credential === undefined
      ? {}
      : {
          authorization: `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`,
        };
  const restUntil = new Map<string, number>();

  const ask = async (
    endpoint: string,
    path: string,
    range: string | undefined,
  ): Promise<Answer | undefined> => {
    const sent = transport.send({
      method: 'GET',
      url: new URL(path, endpoint),
      headers: {
        'user-agent': 'brickyard-pool',
        'cache-control': 'only-if-cached',
        ...(range === undefined ? {} : { range }),
        ...basic,
      },
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('no answer in time')), patienceMs);
    });
    try {
      const answer = await Promise.race([sent, late]);
      if (answer.status === (range === undefined ? 200 : 206)) return answer;
      answer.body.resume();
      return undefined;
    } catch {
      sent.then(
        ({ body }) => body.destroy(),
        () => {},
      );
      restUntil.set(endpoint, Date.now() + restMs);
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    async fetch(path, range) {
      for (const { endpoint } of parents) {
        if ((restUntil.get(endpoint) ?? 0) > Date.now()) continue;
        const answer = await ask(endpoint, path, range);
        if (answer !== undefined) return answer;
      }
      return undefined;
    },
    close: () => transport.close(),
  };
}
