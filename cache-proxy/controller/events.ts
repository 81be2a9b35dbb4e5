import { once } from 'node:events';
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import type { Identity } from '../../core/auth/authenticator.ts';
import type { EventBus } from '../../core/events.ts';
import { errorSchema, problem } from '../../core/http/api-answers.ts';
import type { JsonValue } from '../../core/object-store/object-store.ts';
import type { OriginChange } from '../agent/origin-change.ts';
import { identifyPool, type PoolCallerDeps } from './pool-caller.ts';

/** The topic on which whoever writes to the registry tells of it; its messages are OriginEvents. */
export const originTopic = 'registry/changes';

/** Something changed in a repository. Best effort: it may be lost, so nothing but speed may depend on it. */
export type OriginEvent =
  | Exclude<OriginChange, { action: 'push' }>
  | (Extract<OriginChange, { action: 'push' }> & {
      readonly mediaType: string;
      /** Bytes of the manifest. */
      readonly size: number;
    });

const actions: readonly OriginEvent['action'][] = ['push', 'delete', 'untag', 'unlink', 'remove'];

export interface OriginEventRoutesOptions extends PoolCallerDeps {
  readonly events: EventBus;
  /** Milliseconds of silence after which a comment is sent. Default 15,000. */
  readonly heartbeatMs?: number;
  /** Milliseconds after which a stream ends and whoever reads it signs in again. Default ten minutes. */
  readonly lifetimeMs?: number;
}

/** A pool has one stream, or two while it reconnects. */
const maxStreams = 256;
/** Events that wait for a reader; one who is further behind is cut off, and begins anew. */
const maxBehind = 1_000;

/**
 * `GET /api/v1/pools/events`: server-sent events (HTML standard, 9.2) of what was pushed and deleted in repositories that the pool may pull. The event's
 * name is its action. `hello` comes first: whatever happened before was not told, so a reader who was away asks for what it follows.
 */
export function createOriginEventRoutes(options: OriginEventRoutesOptions): FastifyPluginAsync {
  return async (app: FastifyInstance) => {
    const closing = new AbortController();
    // A server that stops must not wait for readers who never leave; they come back to another one.
    app.addHook('preClose', (done) => {
      closing.abort();
      done();
    });
    let streams = 0;

    app.get(
      '/api/v1/pools/events',
      {
        schema: {
          tags: ['pools'],
          summary: 'Pushes and deletions as server-sent events',
          produces: ['text/event-stream'],
          response: { 401: errorSchema, 403: errorSchema, 503: errorSchema },
        },
      },
      async (request, reply) => {
        const identity = await identifyPool(options, request, reply);
        if (identity === undefined) return reply;
        if (streams >= maxStreams) {
          void reply.header('Retry-After', '10');
          return problem(reply, 503, 'UNAVAILABLE', `there are ${maxStreams} readers already`);
        }
        const left = new AbortController();
        streams += 1;
        reply.raw.once('close', () => {
          streams -= 1;
          left.abort();
        });
        const signal = AbortSignal.any([left.signal, closing.signal]);
        return reply
          .header('Content-Type', 'text/event-stream; charset=utf-8')
          .header('Cache-Control', 'no-store')
          .header('X-Accel-Buffering', 'no')
          .send(
            Readable.from(originEvents(options, identity, signal), {
              objectMode: false,
              highWaterMark: 16_384,
            }),
          );
      },
    );
  };
}

async function* originEvents(
  { events, heartbeatMs = 15_000, lifetimeMs = 600_000 }: OriginEventRoutesOptions,
  { principal, authorizer }: Identity,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const waiting: string[] = [];
  const wake = new EventTarget();
  let behind = false;
  const stop = events.subscribe(originTopic, (message) => {
    const event = readOriginEvent(message);
    if (event === undefined || !authorizer.may(principal, 'pull', event.repository)) return;
    behind ||= waiting.length >= maxBehind;
    if (!behind) waiting.push(`event: ${event.action}\ndata: ${JSON.stringify(event)}\n\n`);
    wake.dispatchEvent(new Event('event'));
  });
  const end = performance.now() + lifetimeMs;
  try {
    yield `retry: 1000\nevent: hello\ndata: {}\n\n`;
    while (!signal.aborted && !behind && performance.now() < end) {
      const next = waiting.splice(0).join('');
      if (next !== '') yield next;
      else if (!(await heard(wake, heartbeatMs, signal)) && !signal.aborted) yield ': still here\n\n';
    }
  } finally {
    stop();
  }
}

/** False: nothing came in so many milliseconds. */
async function heard(wake: EventTarget, ms: number, signal: AbortSignal): Promise<boolean> {
  const timeout = AbortSignal.timeout(ms);
  try {
    await once(wake, 'event', { signal: AbortSignal.any([signal, timeout]) });
    return true;
  } catch {
    return false;
  }
}

/** Undefined for what is no event: another version of the program may share the bus. */
function readOriginEvent(message: JsonValue): OriginEvent | undefined {
  if (typeof message !== 'object' || message === null || Array.isArray(message)) return undefined;
  const { action, repository } = message as Readonly<Record<string, JsonValue>>;
  const known = (actions as readonly unknown[]).includes(action);
  return known && typeof repository === 'string' ? (message as unknown as OriginEvent) : undefined;
}
