import type { IncomingMessage, ServerResponse } from 'node:http';
import type { PullRecord } from '../pull-record.ts';
import type { Purpose } from './fetches.ts';
import type { Target } from './read-target.ts';

/** One client's request on its way through the engine, and what its record will say. */
export interface Exchange {
  readonly id: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly client: string;
  about: Purpose['about'];
  cache: PullRecord['cache'];
  prewarm: boolean;
  /** Bytes of the body that are on their way; 0 where it begins. */
  readonly wrote: (bytes: number) => void;
}

/** Begins the notes about a request; they become a record when its answer is sent or broken off. */
export function beginExchange(
  id: string,
  request: IncomingMessage,
  response: ServerResponse,
  onRecord: (record: PullRecord) => void,
): Exchange {
  const started = performance.now();
  const time = Date.now();
  let firstByteSeconds: number | undefined;
  let bytes = 0;
  const exchange: Exchange = {
    id,
    request,
    response,
    client: plainAddress(request.socket.remoteAddress),
    about: { kind: 'other' },
    cache: 'bypass',
    prewarm: false,
    wrote(count) {
      firstByteSeconds ??= (performance.now() - started) / 1000;
      bytes += count;
    },
  };
  response.once('close', () => {
    const { about, cache, prewarm, client } = exchange;
    onRecord({
      ...about,
      time,
      id,
      side: 'client',
      method: request.method ?? '',
      // Broken off before there was one: as proxies note a client that left.
      status: response.headersSent ? response.statusCode : 499,
      cache,
      bytes,
      seconds: (performance.now() - started) / 1000,
      ...(firstByteSeconds === undefined ? {} : { firstByteSeconds }),
      ...(prewarm ? {} : { client }),
      prewarm,
    });
  });
  return exchange;
}

export function purposeOf(exchange: Exchange): Purpose {
  return { id: exchange.id, about: exchange.about, prewarm: exchange.prewarm };
}

export function aboutOf(target: Target): Purpose['about'] {
  switch (target.kind) {
    case 'blob':
    case 'manifest':
      return { kind: target.kind, digest: target.digest, ...placeOf(target) };
    case 'tag':
      return { kind: 'tag', tag: target.tag, ...placeOf(target) };
    case 'agent':
    case 'pass':
    case 'unknown':
      return { kind: 'other' };
  }
}

function placeOf(place: { upstream?: { ns: string }; repository: string }): {
  ns?: string;
  repository: string;
} {
  const { upstream, repository } = place;
  return upstream === undefined ? { repository } : { ns: upstream.ns, repository };
}

/** A listener on `::` sees IPv4 clients as ::ffff:192.0.2.1. */
function plainAddress(address = ''): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}
