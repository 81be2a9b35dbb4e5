import { readFileSync } from 'node:fs';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseAppFile } from '../../../builder/appfile/parse-appfile.ts';
import { baseImageCache, buildBaseImages } from '../../../builder/catalog/build-base-images.ts';
import { createBaseResolver } from '../../../builder/farm/resolve-base.ts';
import { planBuild } from '../../../builder/plan/plan-build.ts';
import { createRegistryClient } from '../../../oci/client.ts';
import { startDockerd } from '../../helpers/dockerd.ts';
import { writeDockerContext } from '../docker-context.ts';
import { run } from '../http.ts';
import { alternate, type Comparison, cpuSeconds } from '../measure.ts';
import { startBrickyard } from '../peers.ts';

const root = resolve(import.meta.dirname, '../../..');

/**
 * One line of an app over the nodejs base changes. Ours: `git push`, until it returns, which is when the image can be pulled. The peer:
 * `docker build` of the Dockerfile that Brickyard prints and `docker push` of the result to the same registry, base and cache warm.
 */
export async function changeOneFile(options: {
  scratch: string;
  pairs: number;
  say: (line: string) => void;
}): Promise<Comparison> {
  const { scratch, pairs, say } = options;
  const server = await startBrickyard(scratch);
  const registry = createRegistryClient({ url: server.url });
  const engine = await startDockerd();
  const docker = (...args: string[]): Promise<string> =>
    run('docker', args, { env: { ...process.env, ...engine.env } });
  try {
    say('base images …');
    await buildBaseImages({
      catalogDir: join(root, 'baseimages'),
      names: ['nodejs'],
      registry,
      cacheDir: baseImageCache(resolve(root, '.brickyard/bench-cache')),
    });
    const app = join(scratch, 'app');
    await writeApp(app);
    await git(app, 'init', '--quiet', '--initial-branch=main');
    const context = join(scratch, 'context');
    const appfile = parseAppFile('App.yaml', readFileSync(join(app, 'App.yaml')));
    const { plan } = await planBuild({
      appfile,
      team: 'bench',
      resolveBase: createBaseResolver(registry),
    });
    if (plan === undefined) throw new Error('the demo app has no plan');
    await writeDockerContext(app, context, { plan, host: server.host });

    const change = async (folder: string, pair: number, side: string): Promise<void> => {
      await writeFile(join(folder, 'greeting.js'), `export const greeting = '${side} ${pair}';\n`);
    };
    const ours = async (pair: number): Promise<{ value: number; cpuSeconds: number }> => {
      await change(app, pair, 'ours');
      await git(app, 'add', '--all');
      await git(
        app,
        '-c',
        'user.name=Bench',
        '-c',
        'user.email=bench@localhost',
        'commit',
        '--quiet',
        '--message',
        `change ${pair}`,
      );
      const cpu = cpuSeconds(server.pid);
      const start = performance.now();
      await git(app, 'push', '--quiet', `${server.url}/git/bench/hello.git`, 'main');
      const seconds = (performance.now() - start) / 1000;
      await registry.resolveManifest('bench/hello', (await git(app, 'rev-parse', 'HEAD')).slice(0, 12));
      return { value: seconds, cpuSeconds: cpuSeconds(server.pid) - cpu };
    };
    const enginePid = Number(readFileSync(join(dirname(engine.socketPath), 'docker.pid'), 'utf8'));
    const peer = async (pair: number): Promise<{ value: number; cpuSeconds: number }> => {
      await change(join(context, 'app'), pair, 'peer');
      const image = `${server.host}/bench/docker:main`;
      const cpu = cpuSeconds(enginePid);
      const start = performance.now();
      await docker('build', '--quiet', '--tag', image, context);
      await docker('push', '--quiet', image);
      return { value: (performance.now() - start) / 1000, cpuSeconds: cpuSeconds(enginePid) - cpu };
    };
    // First without counting: the base is pulled into the engine, caches fill on both sides.
    const samples = await alternate({ pairs, warmUp: 5 }, ours, peer);
    return {
      name: 'change one file → image can be pulled',
      unit: 's',
      better: 'lower',
      target: 10,
      peerName: 'docker build + push',
      ...samples,
    };
  } finally {
    registry.close();
    await engine.stop();
    await server.stop();
  }
}

/** The demo's app with the fifty small files that a real one has. */
async function writeApp(folder: string): Promise<void> {
  await cp(join(root, 'scripts/demo/app'), folder, { recursive: true });
  await mkdir(join(folder, 'lib'));
  for (let index = 0; index < 50; index++) {
    await writeFile(
      join(folder, 'lib', `part${index}.js`),
      `export const part = ${JSON.stringify('x'.repeat(2_000 + index))};\n`,
    );
  }
}

function git(cwd: string, ...args: string[]): Promise<string> {
  return run('git', args, { cwd });
}
