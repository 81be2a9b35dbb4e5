import { UserError } from '../core/user-error.ts';
import type { CliContext } from './context.ts';
import { basicAuthorization, findCredential, serverUrl } from './credentials.ts';

/** The management API of one server, as the commands use it. */
export interface ServerApi {
  readonly url: string;
  /** Undefined where nobody signed in. */
  readonly authorization: string | undefined;
  /** JSON of a successful answer; `body` is sent as JSON. Errors: UserError with what the server said. */
  call<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<T>;
  /** Text of a successful answer, as it arrives. Errors: UserError. */
  stream(path: string): AsyncGenerator<string>;
  /** The whole of a successful answer, which is small. Errors: UserError. */
  bytes(path: string): Promise<Buffer>;
}

/** Errors: UserError (no server address). */
export async function openServerApi(context: CliContext, server: string | undefined): Promise<ServerApi> {
  const url = serverUrl(context, server);
  const credential = await findCredential(context, url);
  const authorization = credential === undefined ? undefined : basicAuthorization(credential);

  async function request(method: string, path: string, body?: object): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(`${url}${path}`, {
        method,
        // A credential is for this server alone.
        redirect: 'error',
        headers: {
          ...(authorization === undefined ? {} : { authorization }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (cause) {
      const reason = (cause as { cause?: Error }).cause?.message ?? (cause as Error).message;
      throw new UserError(`cannot reach ${url}: ${reason}`, { cause });
    }
    if (response.ok) return response;
    if (response.status === 401) {
      await response.body?.cancel();
      throw new UserError(`${url} asks who you are: run "brickyard login ${url}"`);
    }
    const text = await response.text();
    throw new UserError(`${url}: ${messageOf(text) ?? `the server answered ${response.status}`}`);
  }

  return {
    url,
    authorization,
    call: async <T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object) =>
      (await (await request(method, path, body)).json()) as T,
    bytes: async (path) => Buffer.from(await (await request('GET', path)).arrayBuffer()),
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
