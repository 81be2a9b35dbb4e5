import { parseServerEvents, type ServerEvent } from '../core/http/server-events.ts';
import { UserError } from '../core/user-error.ts';
import type { CliContext } from './context.ts';
import { basicAuthorization, findCredential, serverUrl } from './credentials.ts';
import { ServerAway } from './server-away.ts';

/** The management API of one server, as the commands use it. */
export interface ServerApi {
  readonly url: string;
  /** Undefined where nobody signed in. */
  readonly authorization: string | undefined;
  /** JSON of a successful answer; `body` is sent as JSON. Errors: UserError with what the server said. */
  call<T>(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: object): Promise<T>;
  /** JSON of a GET; undefined where the server has no such address (404): another version, or another role. Errors: UserError. */
  optional<T>(path: string): Promise<T | undefined>;
  /** Text of a successful answer, as it arrives. Errors: UserError. */
  stream(path: string): AsyncGenerator<string>;
  /**
   * Server-sent events behind the one with the id `after` ('' = from the start). Errors: UserError; ServerAway also when the connection breaks, or says
   * nothing for a minute, where a server says something every 15 seconds.
   */
  events(path: string, after: string): AsyncGenerator<ServerEvent>;
  /** The whole of a successful answer, which is small. Errors: UserError. */
  bytes(path: string): Promise<Buffer>;
}

/** Silence of an event stream after which its connection is taken for dead. */
const silenceMs = 60_000;

/** Errors: UserError (no server address). */
export async function openServerApi(context: CliContext, server: string | undefined): Promise<ServerApi> {
  const url = serverUrl(context, server);
  const credential = await findCredential(context, url);
  const authorization = credential === undefined ? undefined : basicAuthorization(credential);

  async function request(
    method: string,
    path: string,
    body?: object,
    more: {
      headers?: Readonly<Record<string, string>>;
      signal?: AbortSignal;
      /** A status that is an answer as well. */
      allow?: number;
    } = {},
  ): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(`${url}${path}`, {
        method,
        // A credential is for this server alone.
        redirect: 'error',
        headers: {
          ...(authorization === undefined ? {} : { authorization }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...more.headers,
        },
        ...(more.signal === undefined ? {} : { signal: more.signal }),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (cause) {
      const reason = (cause as { cause?: Error }).cause?.message ?? (cause as Error).message;
      throw new ServerAway(`cannot reach ${url}: ${reason}`, { cause });
    }
    if (response.ok || response.status === more.allow) return response;
    if (response.status === 401) {
      await response.body?.cancel();
      throw new UserError(`${url} asks who you are: run "brickyard login ${url}"`);
    }
    const text = await response.text();
    const message = `${url}: ${messageOf(text) ?? `the server answered ${response.status}`}`;
    throw response.status >= 500 ? new ServerAway(message) : new UserError(message);
  }

  return {
    url,
    authorization,
    call: async <T>(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: object) =>
      (await (await request(method, path, body)).json()) as T,
    async optional<T>(path: string) {
      const response = await request('GET', path, undefined, { allow: 404 });
      if (response.ok) return (await response.json()) as T;
      await response.body?.cancel();
      return undefined;
    },
    bytes: async (path) => Buffer.from(await (await request('GET', path)).arrayBuffer()),
    async *events(path, after) {
      const silent = new AbortController();
      const watch = (): NodeJS.Timeout => setTimeout(() => silent.abort(), silenceMs);
      let timer = watch();
      try {
        const headers = { accept: 'text/event-stream', ...(after === '' ? {} : { 'last-event-id': after }) };
        const { body } = await request('GET', path, undefined, { headers, signal: silent.signal });
        if (body === null) return;
        const heard = async function* (): AsyncGenerator<string> {
          for await (const text of body.pipeThrough(new TextDecoderStream())) {
            clearTimeout(timer);
            timer = watch();
            yield text;
          }
        };
        yield* parseServerEvents(heard());
      } catch (cause) {
        if (cause instanceof UserError) throw cause;
        throw new ServerAway(`${url}: the connection broke off (${(cause as Error).message})`, { cause });
      } finally {
        clearTimeout(timer);
        silent.abort();
      }
    },
    async *stream(path) {
      const { body } = await request('GET', path);
      if (body === null) return;
      yield* body.pipeThrough(new TextDecoderStream());
    },
  };
}

/** What an answer of the management API says went wrong, if it says so. */
export function messageOf(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string } };
    return error?.message;
  } catch {
    return undefined;
  }
}
