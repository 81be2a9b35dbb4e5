import { readAgentKey } from '../cache-proxy/agent/agent-key.ts';
import type { Pool } from '../cache-proxy/pools/pool.ts';
import { UserError } from '../core/user-error.ts';
import { messageOf } from './server-api.ts';

/** Whatever takes longer than this is no answer of an agent that works. */
const patienceMs = 60_000;

/** JSON of what a pool's agent answers to one of its commands. Errors: UserError that says what to do. */
export async function askAgent<T>(
  pool: Pool,
  method: 'GET' | 'POST',
  path: string,
  body?: object,
): Promise<T> {
  const response = await callAgent(pool, method, path, { body, signal: AbortSignal.timeout(patienceMs) });
  return (await response.json()) as T;
}

/** A successful answer of a pool's agent, its body not read yet. Errors: UserError that says what to do. */
export async function callAgent(
  pool: Pool,
  method: 'GET' | 'POST',
  path: string,
  options: { readonly body?: object | undefined; readonly signal?: AbortSignal } = {},
): Promise<Response> {
  const { body, signal } = options;
  const key = await readAgentKey(pool.folder).catch((cause: NodeJS.ErrnoException) => {
    const hint =
      cause.code === 'ENOENT'
        ? `has the pool ${pool.name} run here? Start it with "brickyard serve pool --pool ${pool.name}"`
        : 'only who runs the pool may read it';
    throw new UserError(`cannot read the key of the pool’s agent: ${cause.message}; ${hint}`, { cause });
  });
  let response: Response;
  try {
    response = await fetch(`http://${pool.agent.listen}${path}`, {
      method,
      redirect: 'error',
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (cause) {
    const reason = (cause as { cause?: Error }).cause?.message ?? (cause as Error).message;
    throw new UserError(
      `the agent of the pool ${pool.name} does not answer at ${pool.agent.listen} (${reason}); is "brickyard serve pool" running there?`,
      { cause },
    );
  }
  if (response.ok) return response;
  const text = await response.text();
  throw new UserError(messageOf(text) ?? `the agent of the pool ${pool.name} answered ${response.status}`);
}
