import { type ContainerApi, ContainerApiError } from './container-api.ts';

/**
 * A build must never fall back to weaker walls than somebody asked for. Errors: ContainerApiError when the engine has no runtime of that name, with
 * those that it has.
 */
export async function requireRuntime(api: Pick<ContainerApi, 'about'>, runtime: string): Promise<void> {
  const { name, runtimes } = await api.about();
  if (runtimes.includes(runtime)) return;
  throw new ContainerApiError(
    `${name} has no runtime "${runtime}", which builder.sandbox.runtime names; it has ${runtimes.join(', ') || 'none'}. ` +
      'Register it with the engine (Docker: "runtimes" in daemon.json), or change builder.sandbox.runtime',
  );
}
