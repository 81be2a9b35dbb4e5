import { readFile, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { basename, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { parseAppFile } from '../../builder/appfile/parse-appfile.ts';
import { timeOrderedId } from '../../builder/git/time-ordered-id.ts';
import type { BuildView } from '../../builder/http/build-routes.ts';
import { UserError } from '../../core/user-error.ts';
import { isRepositoryName, isTag } from '../../oci/reference.ts';
import type { CliContext } from '../context.ts';
import { openServerApi, type ServerApi } from '../server-api.ts';
import { commitWorkingTree } from '../working-tree.ts';
import { type PackageFlags, packageStem, sendPackage } from './build-package.ts';
import { describeEnd, printLog, untilEnded } from './builds.ts';

interface BuildFlags extends PackageFlags {
  readonly server?: string;
  readonly repository?: string;
  readonly wait: boolean;
  readonly json?: boolean;
}

/** `build [DIR|FILE]`: builds a working tree as it is, or a release package, on the server, with the log on the terminal. */
export function registerBuild(program: Command, context: CliContext): void {
  program
    .command('build [path]')
    .description(
      'build a working tree as it is, without a commit, or a package (.tgz .tar .zip .war .jar), and push the image',
    )
    .option(
      '--repository <team/app>',
      'git repository on the server (default: your name and the appname of App.yaml)',
    )
    .option(
      '-t, --tag <tag>',
      'tag of the image (default: local; of a package the version in its name, else latest)',
    )
    .option('--app <file>', 'App.yaml for a package that brings none')
    .option('--base <name:channel>', 'instead of --app: base image of a package')
    .option('--command <command>', 'instead of --app: how a package is started')
    .option('--port <number>', 'instead of --app: where it listens for HTTP (default: 8080)')
    .option('--no-wait', 'do not wait for the build')
    .option('--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)')
    .option('--json', 'print the build as JSON')
    .action((path: string | undefined, flags: BuildFlags) => build(context, path ?? '.', flags));
}

async function build(context: CliContext, path: string, flags: BuildFlags): Promise<void> {
  const place = resolve(context.cwd, path);
  const found = await stat(place).catch(() => undefined);
  if (found === undefined) throw new UserError(`${place} is no folder and no file`, { exitCode: 2 });
  const packaged = found.isFile();
  if (flags.tag !== undefined && !isTag(flags.tag)) {
    throw new UserError(`"${flags.tag}" is no tag`, { exitCode: 2 });
  }
  const api = await openServerApi(context, flags.server);
  const repository = flags.repository ?? (await defaultRepository(api.authorization, place, packaged));
  if (!isRepositoryName(repository) || repository.split('/').length !== 2) {
    throw new UserError(`"${repository}" is no git repository: write --repository TEAM/APP`, { exitCode: 2 });
  }
  const id = packaged
    ? await buildPackage(context, api, { file: place, repository, flags })
    : await buildWorkingTree(context, api, { folder: place, repository, flags });
  const result = flags.wait
    ? await untilEnded(api, id)
    : await api.call<BuildView>('GET', `/api/v1/builds/${id}`);
  if (flags.json === true) context.stdout(`${JSON.stringify(result, undefined, 2)}\n`);
  else if (!flags.wait) context.stdout(`${id}\n`);
  else {
    const images = result.images ?? (result.image === undefined ? [] : [result.image]);
    for (const { reference, digest } of images) context.stdout(`${reference}@${digest}\n`);
  }
  if (flags.wait && ['failed', 'cancelled', 'superseded'].includes(result.state)) {
    throw new UserError(`the build ${describeEnd(result)}`);
  }
}

/** Returns the build's id; with `--wait` when its log has ended. */
async function buildPackage(
  context: CliContext,
  api: ServerApi,
  what: { file: string; repository: string; flags: BuildFlags },
): Promise<string> {
  packageStem(what.file);
  const { id } = await sendPackage(context, api, what);
  if (what.flags.wait) {
    await printLog(context, api, { id, print: (line) => context.stderr(`${line}\n`) });
  }
  return id;
}

/** The same for a folder. */
async function buildWorkingTree(
  context: CliContext,
  api: ServerApi,
  { folder, repository, flags }: { folder: string; repository: string; flags: BuildFlags },
): Promise<string> {
  for (const key of ['app', 'base', 'command', 'port'] as const) {
    if (flags[key] === undefined) continue;
    throw new UserError(`--${key} is for packages; a folder says it in its App.yaml`, { exitCode: 2 });
  }
  const tree = await commitWorkingTree(context, folder);
  let id: string | undefined;
  const pushed = tree.push(`${api.url}/git/${repository}.git`, {
    ref: `refs/brickyard/${timeOrderedId()}`,
    options: [
      ...(flags.tag === undefined ? [] : [`tag=${flags.tag}`]),
      ...(flags.wait ? [] : ['build.nowait']),
    ],
    ...(api.authorization === undefined ? {} : { authorization: api.authorization }),
    onLine(line) {
      id ??= /\bbuild ([0-9a-f-]{36})\b/.exec(line)?.[1];
      context.stderr(`${line}\n`);
    },
  });
  await pushed.catch((error: unknown) => {
    // git's own words speak of a terminal that it may not use.
    if (api.authorization !== undefined || !/could not read Username/.test(String(error))) throw error;
    throw new UserError(`${api.url} asks who you are: run "brickyard login ${api.url}"`, { cause: error });
  });
  if (id === undefined)
    throw new UserError('the server took the files but told of no build; see "brickyard builds ls"');
  return id;
}

/** `<who is signed in, else the local user>/<appname, else the folder's name; of a package its name without version>`. */
async function defaultRepository(
  authorization: string | undefined,
  place: string,
  packaged: boolean,
): Promise<string> {
  const [user = ''] =
    authorization === undefined
      ? [userInfo().username]
      : Buffer.from(authorization.replace(/^Basic /, ''), 'base64')
          .toString('utf8')
          .split(':');
  if (packaged) return `${toName(user)}/${toName(packageStem(place))}`;
  const folderName = basename(place);
  const bytes = await readFile(join(place, 'App.yaml')).catch(() => undefined);
  const appname =
    bytes === undefined
      ? undefined
      : parseAppFile('App.yaml', bytes, { defaultAppName: toName(folderName) }).appfile?.appname;
  return `${toName(user)}/${appname ?? toName(folderName)}`;
}

function toName(text: string): string {
  const name = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
  return name === '' ? 'app' : name;
}
