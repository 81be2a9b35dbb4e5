import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { requirePrograms } from './dockerd.ts';
import { freePort } from './free-port.ts';
import { startProcess, waitFor } from './process.ts';
import { createTempDirectory } from './temp.ts';

/** Debian's docker-registry 2.8 with its filesystem driver. */
export interface TestDockerRegistry {
  readonly url: string;
  readonly host: string;
  /** Its `rootdirectory`. */
  readonly store: string;
  /** Ends it and leaves the storage. */
  stop(): Promise<void>;
  /** Ends it and removes everything. */
  remove(): Promise<void>;
}

/** `htpasswd`: lines of accounts (bcrypt); without them everybody may do everything. Errors: when the machine has none; says `npm run setup`. */
export async function startDockerRegistry(options: { htpasswd?: string } = {}): Promise<TestDockerRegistry> {
  await requirePrograms(['docker-registry']);
  const directory = await createTempDirectory('registry');
  const port = await freePort();
  const config = join(directory.path, 'config.yml');
  const store = join(directory.path, 'store');
  const accounts = join(directory.path, 'htpasswd');
  if (options.htpasswd !== undefined) await writeFile(accounts, options.htpasswd);
  await writeFile(
    config,
    [
      'version: 0.1',
      'log: {level: error, accesslog: {disabled: true}}',
      `storage: {filesystem: {rootdirectory: ${store}}, delete: {enabled: true}}`,
      `http: {addr: 127.0.0.1:${port}}`,
      ...(options.htpasswd === undefined ? [] : [`auth: {htpasswd: {realm: test, path: ${accounts}}}`]),
      '',
    ].join('\n'),
  );
  const program = await startProcess('docker-registry', ['serve', config], {
    env: { OTEL_TRACES_EXPORTER: 'none' },
  });
  const url = `http://127.0.0.1:${port}`;
  await waitFor(
    async () => {
      const response = await fetch(`${url}/v2/`).catch(() => undefined);
      await response?.body?.cancel();
      return response !== undefined;
    },
    { what: 'docker-registry' },
  );
  const stop = (): Promise<void> => program.stop('SIGKILL');
  return {
    url,
    host: `127.0.0.1:${port}`,
    store,
    stop,
    async remove() {
      await stop();
      await directory.remove();
    },
  };
}
