import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PoolSide } from './side.ts';
import { untilReachable } from './until-reachable.ts';

/** distribution's own cache: Debian's docker-registry as a pull-through proxy, with the pool's account. Whoever reaches it may pull everything. */
export const pullThrough: PoolSide = {
  name: 'docker-registry 2.8.2, pull-through',
  async start({ lab, origin, folder }) {
    const host = `${lab.pool.address}:5000`;
    const config = join(folder, 'config.yml');
    await writeFile(
      config,
      [
        'version: 0.1',
        'log: {level: error, accesslog: {disabled: true}}',
        `storage: {filesystem: {rootdirectory: ${folder}/store}, cache: {blobdescriptor: inmemory}}`,
        `http: {addr: "${host}"}`,
        `proxy: {remoteurl: "http://${origin.host}", username: "${origin.pool.username}", password: "${origin.pool.password}"}`,
        '',
      ].join('\n'),
    );
    const registry = await lab.pool.start('docker-registry', ['serve', config], {
      env: { OTEL_TRACES_EXPORTER: 'none' },
    });
    await untilReachable(lab.pool, { url: `http://${host}/v2/`, what: 'docker-registry', program: registry });
    return {
      host,
      pid: registry.pid,
      output: () => registry.output(),
      stop: () => registry.stop('SIGKILL'),
    };
  },
};
