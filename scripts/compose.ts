import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { storeCredential } from '../cli/credentials.ts';
import { reportFailure } from '../core/process.ts';
import { UserError } from '../core/user-error.ts';
import { type ImageVariable, makeImages } from './compose/images.ts';
import { ask, brickyard, findCompose, show } from './compose/programs.ts';
import { changeVariables, readSecret, writeSettings } from './compose/settings.ts';
import { startDemoServer, stopDemoServer } from './demo/server.ts';

// `npm run compose -- up [FOLDER]`: everything on one machine, in containers. `down` ends it, and `down --volumes` removes all that it kept.
const usage =
  'npm run compose -- up [FOLDER] [--bind 127.0.0.1:5000] [--pool-bind 127.0.0.1:5080], npm run compose -- down [FOLDER] [--volumes]';

try {
  await main();
} catch (error) {
  process.exitCode = reportFailure(error, (text) => void process.stderr.write(text));
}

async function main(): Promise<void> {
  const { values, positionals } = readArguments();
  const [command, folderName = './data/compose', ...rest] = positionals;
  const folder = resolve(folderName);
  const first = { bind: values.bind, poolBind: values['pool-bind'], engineSocket: engineSocket() };
  if (command === 'up' && rest.length === 0) await up(folder, first);
  else if (command === 'down' && rest.length === 0) await down(folder, values.volumes);
  else throw new UserError(usage, { exitCode: 2 });
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        bind: { type: 'string', default: '127.0.0.1:5000' },
        'pool-bind': { type: 'string', default: '127.0.0.1:5080' },
        volumes: { type: 'boolean', default: false },
      },
    });
  } catch (cause) {
    throw new UserError(`${(cause as Error).message}\n${usage}`, { exitCode: 2, cause });
  }
}

async function up(
  folder: string,
  first: { bind: string; poolBind: string; engineSocket: string },
): Promise<void> {
  const env = ownEnvironment();
  await ask('docker', ['version', '--format', '{{.Server.Version}}'], { env });
  const command = await findCompose(env);
  const variables = await writeSettings(folder, first);
  const files = (variables['COMPOSE_FILE'] ?? '').split(':');
  step('a server for the time being, to make the images with');
  const builds = join(folder, 'builds');
  const server = await startDemoServer(builds, {
    env: { ...env, BRICKYARD_LISTEN: '127.0.0.1:0', BRICKYARD_BUILDER_ENGINE: first.engineSocket },
  });
  try {
    step('images: nginx, Redis, an S3 store and Brickyard itself, from the catalog and this checkout');
    const wanted: ImageVariable[] = [
      'BRICKYARD_SERVER_IMAGE',
      'BRICKYARD_NGINX_IMAGE',
      'BRICKYARD_REDIS_IMAGE',
    ];
    if (files.includes('docker-compose.s3.yml')) wanted.push('BRICKYARD_CEPH_IMAGE');
    const { engineSocket: socket } = first;
    const images = await makeImages({ server: server.url, engineSocket: socket, env, wanted });
    await changeVariables(folder, images);

    step('containers');
    await start({ command, folder, env });

    step('base images for applications');
    const url = variables['BRICKYARD_PUBLIC_URL'] ?? `http://${first.bind}`;
    await copyBases({ folder, from: server.url, to: url, env });
    say(
      `Brickyard is at ${url}: docker login -u admin, with the password in ${folder}/secrets/admin-password`,
    );
    if (files.includes('docker-compose.pool.yml')) {
      say(`its caching proxy is at ${variables['BRICKYARD_POOL_URL']}: the same accounts, the same images`);
    }
  } finally {
    await stopDemoServer(builds);
  }
}

async function down(folder: string, volumes: boolean): Promise<void> {
  const env = ownEnvironment();
  await stopDemoServer(join(folder, 'builds'));
  const [program = '', ...compose] = await findCompose(env);
  const options = volumes ? ['--volumes'] : [];
  await show(program, [...compose, 'down', '--remove-orphans', ...options], { cwd: folder, env });
}

/** Starts what is not running and waits until all of it is well. Errors: UserError, after the last words of each container. */
async function start(what: {
  command: readonly string[];
  folder: string;
  env: NodeJS.ProcessEnv;
}): Promise<void> {
  const [program = '', ...compose] = what.command;
  const options = { cwd: what.folder, env: what.env };
  try {
    await show(program, [...compose, 'up', '--detach', '--remove-orphans'], options);
    await untilWell(what);
  } catch (error) {
    await show(program, [...compose, 'logs', '--tail', '20'], options).catch(() => {});
    throw error;
  }
}

/** Errors: UserError when one is not, after ten minutes or as soon as Docker has given it up. */
async function untilWell(what: {
  command: readonly string[];
  folder: string;
  env: NodeJS.ProcessEnv;
}): Promise<void> {
  const [program = '', ...compose] = what.command;
  const options = { cwd: what.folder, env: what.env };
  const end = Date.now() + 600_000;
  const format =
    '{{.Name}}: {{.State.Status}}{{if .State.Health}} {{.State.Health.Status}}{{end}}{{if eq .State.Status "exited"}} {{.State.ExitCode}}{{end}}';
  for (;;) {
    const ids = (await ask(program, [...compose, 'ps', '-q'], options)).split('\n').filter(Boolean);
    const states = (await ask('docker', ['inspect', '--format', format, ...ids], options)).split('\n');
    // What only prepares something has ended with 0.
    const waiting = states.filter((state) => !/: (?:running(?: healthy)?|exited 0)$/.test(state));
    if (waiting.length === 0) return;
    if (Date.now() > end || waiting.some((state) => state.endsWith(' unhealthy')))
      throw new UserError(`not well: ${waiting.join(', ')}; "docker logs NAME" tells more`);
    await sleep(500);
  }
}

/** Those that apps stand on most; others are made with `brickyard base build`. */
async function copyBases(what: {
  folder: string;
  from: string;
  to: string;
  env: NodeJS.ProcessEnv;
}): Promise<void> {
  const file = join(what.folder, 'secrets/credentials.json');
  const env = { ...what.env, BRICKYARD_CREDENTIALS: file };
  await storeCredential({ env }, what.to, {
    user: 'admin',
    password: await readSecret(what.folder, 'admin-password'),
  });
  try {
    for (const name of ['base', 'nodejs']) {
      const place = (url: string): string => `${url.replace(/^https?:\/\//, '')}/baseimages/${name}`;
      await brickyard(['images', 'copy', '--all-tags', place(what.from), place(what.to)], { env });
    }
  } finally {
    await rm(file, { force: true });
  }
}

/** What this shell says of a server of its own must not reach the one that makes the images, apart from how builds are done. */
function ownEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^BRICKYARD_(?!BUILDER_)/.test(name) && !name.startsWith('COMPOSE_'),
  );
  return Object.fromEntries(kept);
}

function engineSocket(): string {
  const host = process.env['DOCKER_HOST'] ?? 'unix:///run/docker.sock';
  if (host.startsWith('unix://')) return host.slice('unix://'.length);
  throw new UserError('DOCKER_HOST: only an engine of this machine will do (unix://…)');
}

function step(line: string): void {
  process.stderr.write(`\n── ${line}\n`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
