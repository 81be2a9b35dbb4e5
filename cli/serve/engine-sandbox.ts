import {
  createDockerEngine,
  type DockerEngine,
  type DockerEngineOptions,
} from '../../builder/engines/docker.ts';
import type { Sandbox } from '../../builder/engines/engine.ts';
import type { Logger } from '../../core/log.ts';
import { JobFailed } from '../../core/queue/job-queue.ts';
import type { Registry } from '../../oci/registry.ts';

export interface EngineSandbox extends Sandbox {
  close(): Promise<void>;
}

/**
 * The container engine of this machine, looked for when a build needs it: one that was started after the server counts, and a server
 * without one starts all the same. `socket` is `auto`, `none` or a path, as in the configuration.
 */
export function createEngineSandbox(
  deps: { socket: string; registry: Registry; log: Logger } & Pick<
    DockerEngineOptions,
    'limits' | 'egress' | 'runtime' | 'cacheDir'
  >,
): EngineSandbox {
  let found: DockerEngine | undefined;

  async function within<T>(use: (sandbox: Sandbox) => Promise<T>): Promise<T> {
    found ??= deps.socket === 'none' ? undefined : await createDockerEngine(deps);
    if (found === undefined) {
      throw new JobFailed(
        'App.yaml has build:, test: or static:, but no container engine answers on this server; start Docker or Podman, or remove them',
      );
    }
    try {
      return await use(found.sandbox);
    } catch (error) {
      // A fault of the build says nothing about the engine; anything else may mean that it went away.
      if (!(error instanceof JobFailed)) found = undefined;
      throw error;
    }
  }

  return {
    name: 'container engine',
    run: (input, context) => within((sandbox) => sandbox.run(input, context)),
    runScript: (input, context) => within((sandbox) => sandbox.runScript(input, context)),
    close: async () => found?.close(),
  };
}
