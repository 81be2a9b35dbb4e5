import { readFileSync } from 'node:fs';
import { createTransport } from '../../oci/client/transport.ts';
import type { Origin } from '../pools/pool.ts';
import type { EventAnswer, OriginEventsOptions } from './origin-events.ts';

/**
 * Asks the origin for its event stream, each time the next of its replicas. Only a Brickyard has one, and it takes Basic everywhere. Errors: those of reading
 * `origin.ca`.
 */
export function createEventRequest(origin: Origin): {
  readonly open: OriginEventsOptions['open'];
  close(): void;
} {
  const { urls, ca, credential } = origin;
  // How long it may be silent is for whoever follows it to say.
  const transport = createTransport({
    timeoutMs: 120_000,
    ...(ca === undefined ? {} : { ca: readFileSync(ca, 'utf8') }),
  });
  let attempts = 0;
  return {
    async open({ lastEventId, signal }): Promise<EventAnswer> {
      const url = new URL('/api/v1/pools/events', urls[attempts++ % urls.length]);
      const basic =
        credential === undefined
          ? undefined
          : Buffer.from(`${credential.username}:${credential.password}`).toString('base64');
      const sent = transport.send({
        method: 'GET',
        url,
        headers: {
          accept: 'text/event-stream',
          ...(basic === undefined ? {} : { authorization: `Basic ${basic}` }),
          ...(lastEventId === '' ? {} : { 'last-event-id': lastEventId }),
        },
      });
      const { promise: aborted, reject } = Promise.withResolvers<never>();
      aborted.catch(() => {});
      signal.addEventListener('abort', () => {
        reject(signal.reason instanceof Error ? signal.reason : new Error('ended'));
        void sent.then(({ body }) => body.destroy()).catch(() => {});
      });
      const { status, body } = await Promise.race([sent, aborted]);
      // It may be broken off while nobody reads.
      body.on('error', () => {});
      return { status, text: body.setEncoding('utf8') };
    },
    close: () => transport.close(),
  };
}
