import type { ServerResponse } from 'node:http';
import type { RawHandler } from '../../core/http/http-server.ts';
import { BodyTooLarge, readBody } from '../../core/http/read-body.ts';
import { UserError } from '../../core/user-error.ts';
import { EngineUnreachable } from './engine-client.ts';
import { OriginAway } from './image-reader.ts';
import type { WarmEvent, WarmReport } from './warm.ts';

/** A line of the answer of `POST /_pool/warm`. */
export type WarmLine =
  | WarmEvent
  | { readonly event: 'report'; readonly report: WarmReport }
  /** The run could not begin, or broke off. */
  | { readonly event: 'error'; readonly message: string };

/** Fetches these images, or what is planned where none are named. Errors: UserError. */
export type WarmNow = (
  references: readonly string[],
  options: { readonly signal: AbortSignal; readonly onEvent: (event: WarmEvent) => void },
) => Promise<WarmReport>;

/** Of a request's body: a thousand long names. Bytes. */
const maxBody = 1024 * 1024;
/** Without news an empty line says that it goes on. Milliseconds. */
const heartbeatMs = 15_000;
/** Lines for a reader who does not read are left out beyond this, but for the last one. Bytes. */
const maxWaiting = 1024 * 1024;

/**
 * `POST /_pool/warm` with `{"references": […]}`: fetches, and tells meanwhile, a JSON document per line. It ends when whoever asked goes away. Whoever calls it
 * was let in before.
 */
export function createWarmHandler(warm: WarmNow, onFailure: (error: unknown) => void): RawHandler {
  return (request, response) => {
    const left = new AbortController();
    response.once('close', () => left.abort(new Error('nobody waits for it any more')));
    const say = (line: WarmLine): void => {
      if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      if (response.writable && response.writableLength < maxWaiting)
        response.write(`${JSON.stringify(line)}\n`);
    };
    const heartbeat = setInterval(() => {
      if (response.headersSent && response.writable) response.write('\n');
    }, heartbeatMs);
    const run = async (): Promise<void> => {
      try {
        if (request.method !== 'POST') return refuse(response, 405, 'POST');
        const references = readReferences(await readBody(request, maxBody));
        const report = await warm(references, { signal: left.signal, onEvent: say });
        say({ event: 'report', report });
      } catch (error) {
        if (left.signal.aborted) return;
        const status = error instanceof UserError || error instanceof BodyTooLarge ? 400 : 503;
        if (status === 503) onFailure(error);
        const known = status === 400 || error instanceof OriginAway || error instanceof EngineUnreachable;
        const message = known ? (error as Error).message : 'the pool could not fetch that; its log tells why';
        if (response.headersSent) say({ event: 'error', message });
        else refuse(response, status, message);
      } finally {
        clearInterval(heartbeat);
        response.end();
      }
    };
    void run();
  };
}

/** Errors: UserError. */
function readReferences(body: Buffer): string[] {
  let value: unknown;
  try {
    value = body.length === 0 ? {} : JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new UserError('the body is not JSON', { cause });
  }
  const references = (value as { references?: unknown } | null)?.references ?? [];
  const isText = (each: unknown): each is string => typeof each === 'string' && each.length <= 600;
  if (!Array.isArray(references) || !references.every(isText)) {
    throw new UserError('expected {"references": ["team/app:tag", …]}');
  }
  return references;
}

function refuse(response: ServerResponse, status: number, message: string): void {
  response
    .writeHead(status, { 'content-type': 'application/json' })
    .write(JSON.stringify({ error: { message } }));
}
