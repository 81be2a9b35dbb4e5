import { execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { baseImageCache, buildBaseImages } from '../builder/catalog/build-base-images.ts';
import { showBaseImages } from '../cli/base-image-progress.ts';
import { createProgress } from '../cli/progress.ts';
import { formatBytes } from '../cli/text.ts';
import { reportFailure } from '../core/process.ts';
import { UserError } from '../core/user-error.ts';
import { createRegistryClient } from '../oci/client.ts';
import { startDemoServer, stopDemoServer } from './demo/server.ts';
import { verifyImage } from './demo/verify-image.ts';

// `npm run demo`: the whole story in one command. `npm run demo -- stop` ends the server that it leaves running.
const folder = resolve(process.env['BRICKYARD_DATA'] ?? './data', 'demo');
const started = performance.now();
const say = (line = ''): void => void process.stdout.write(`${line}\n`);
const step = (line: string): void => say(`\n── ${line}`);

try {
  if (process.argv[2] === 'stop') {
    say((await stopDemoServer(folder)) ? 'The demo server is stopped.' : 'No demo server is running.');
  } else if (process.argv[2] === undefined) {
    await demo();
  } else {
    throw new UserError(`there is no "${process.argv[2]}": npm run demo, or npm run demo -- stop`, {
      exitCode: 2,
    });
  }
} catch (error) {
  process.exitCode = reportFailure(error, (text) => void process.stderr.write(text));
}

async function demo(): Promise<void> {
  requireGit();
  step('a server: registry, git host and builds');
  const server = await startDemoServer(folder);
  say(`${server.reused ? 'still running' : 'running'} at ${server.url}, data in ${folder}`);
  const registry = createRegistryClient({ url: server.url });
  try {
    step('base images: base (Debian 12) and nodejs, without root and without a container engine');
    await makeBaseImages(registry);

    step('an app of two roles, pushed with git');
    const greeting = `Hello from a brick, laid at ${new Date().toISOString()}.`;
    const app = prepareApp(greeting, `${server.url}/git/demo/hello.git`);
    await push(app);

    step('the image, pulled back');
    const image = await verifyImage(registry, 'demo/hello', 'main', '/home/hello/greeting.js');
    if (!image.file.includes(greeting)) throw new Error(`the image holds another greeting: ${image.file}`);
    say(
      `${image.layers} layers, ${formatBytes(image.bytes)}: every digest agrees, and the greeting is the one just pushed`,
    );
    say(`${image.digest}`);
  } finally {
    registry.close();
  }
  const { host } = new URL(server.url);
  say(`\nDone in ${((performance.now() - started) / 1000).toFixed(1)} s. The server goes on:`);
  const next = [
    [`${server.url}/`, 'what is in it'],
    [`docker run --rm ${host}/demo/hello:main web`, 'run the app (or: worker)'],
    [`docker push ${host}/team/app:1.0`, 'a registry like any other'],
    [`cd ${folder}/app`, 'change something, commit, git push'],
    ['npm run demo -- stop', 'stop the server'],
  ] as const;
  const width = Math.max(...next.map(([command]) => command.length));
  for (const [command, what] of next) say(`  ${command.padEnd(width)}  ${what}`);
}

async function makeBaseImages(registry: ReturnType<typeof createRegistryClient>): Promise<void> {
  const progress = createProgress(process.stderr);
  try {
    const images = await buildBaseImages({
      catalogDir: resolve(import.meta.dirname, '../baseimages'),
      names: ['nodejs'],
      registry,
      cacheDir: baseImageCache(join(folder, 'cache')),
      onProgress: showBaseImages(progress),
    });
    progress.close();
    for (const image of images)
      say(
        `${image.repository}:${image.tags[0]}  ${image.built ? formatBytes(image.layerBytes) : 'is there, nothing to do'}`,
      );
  } finally {
    progress.close();
  }
}

/** The sample app as a git repository of its own, with a change since the last push; a plain `git push` there goes to `url`. */
function prepareApp(greeting: string, url: string): string {
  const app = join(folder, 'app');
  if (!existsSync(join(app, '.git'))) {
    mkdirSync(app, { recursive: true });
    cpSync(resolve(import.meta.dirname, 'demo/app'), app, { recursive: true });
    git(app, 'init', '--quiet', '--initial-branch=main');
  }
  // The server may listen on another port than the last time.
  git(app, 'config', 'remote.origin.url', url);
  git(app, 'config', 'push.default', 'current');
  writeFileSync(join(app, 'greeting.js'), `export const greeting = ${JSON.stringify(greeting)};\n`);
  git(app, 'add', '--all');
  git(
    app,
    '-c',
    'user.name=Demo',
    '-c',
    'user.email=demo@localhost',
    'commit',
    '--quiet',
    '--message',
    'Say hello',
  );
  return app;
}

function git(cwd: string, ...args: string[]): void {
  execFileSync('git', args, { cwd, stdio: ['ignore', 'inherit', 'inherit'] });
}

function push(cwd: string): Promise<void> {
  return new Promise((resolvePush, reject) => {
    const child = spawn('git', ['push', '--force', 'origin', 'main'], {
      cwd,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    child.once('error', reject);
    child.once('exit', (code) =>
      code === 0 ? resolvePush() : reject(new UserError(`git push failed (exit code ${code})`)),
    );
  });
}

function requireGit(): void {
  try {
    execFileSync('git', ['--version'], { stdio: 'ignore' });
  } catch (cause) {
    throw new UserError('git is not installed; on Debian: apt-get install git', { cause });
  }
}
