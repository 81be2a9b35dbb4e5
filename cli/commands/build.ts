import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { basename, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { parseAppFile } from '../../builder/appfile/parse-appfile.ts';
import { timeOrderedId } from '../../builder/git/time-ordered-id.ts';
import type { BuildView } from '../../builder/http/build-routes.ts';
import { UserError } from '../../core/user-error.ts';
import { isRepositoryName, isTag } from '../../oci/reference.ts';
import type { CliContext } from '../context.ts';
import { openServerApi } from '../server-api.ts';
import { commitWorkingTree } from '../working-tree.ts';
import { describeEnd, untilEnded } from './builds.ts';

interface BuildFlags {
  readonly server?: string;
  readonly repository?: string;
  readonly tag?: string;
  readonly wait: boolean;
  readonly json?: boolean;
}

/** `build [DIR]`: builds a working tree as it is, on the server, with the log on the terminal. */
export function registerBuild(program: Command, context: CliContext): void {
  program
    .command('build [dir]')
    .description('build a working tree as it is, without a commit, and push the image')
    .option(
      '--repository <team/app>',
      'git repository on the server (default: your name and the appname of App.yaml)',
    )
    .option('-t, --tag <tag>', 'tag of the image (default: local)')
    .option('--no-wait', 'do not wait for the build')
    .option('--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)')
    .option('--json', 'print the build as JSON')
    .action((dir: string | undefined, flags: BuildFlags) => build(context, dir ?? '.', flags));
}

async function build(context: CliContext, dir: string, flags: BuildFlags): Promise<void> {
  const folder = resolve(context.cwd, dir);
  if (flags.tag !== undefined && !isTag(flags.tag)) {
    throw new UserError(`"${flags.tag}" is no tag`, { exitCode: 2 });
  }
  const api = await openServerApi(context, flags.server);
  const repository = flags.repository ?? (await defaultRepository(api.authorization, folder));
  if (!isRepositoryName(repository) || repository.split('/').length !== 2) {
    throw new UserError(`"${repository}" is no git repository: write --repository TEAM/APP`, { exitCode: 2 });
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
  const result = flags.wait
    ? await untilEnded(api, id)
    : await api.call<BuildView>('GET', `/api/v1/builds/${id}`);
  if (flags.json === true) context.stdout(`${JSON.stringify(result, undefined, 2)}\n`);
  else if (!flags.wait) context.stdout(`${id}\n`);
  else if (result.image !== undefined) context.stdout(`${result.image.reference}@${result.image.digest}\n`);
  if (flags.wait && (result.state === 'failed' || result.state === 'cancelled')) {
    throw new UserError(`the build ${describeEnd(result)}`);
  }
}

/** `<who is signed in, else the local user>/<appname, else the folder's name>`. */
async function defaultRepository(authorization: string | undefined, folder: string): Promise<string> {
  const [user = ''] =
    authorization === undefined
      ? [userInfo().username]
      : Buffer.from(authorization.replace(/^Basic /, ''), 'base64')
          .toString('utf8')
          .split(':');
  const folderName = basename(folder);
  const bytes = await readFile(join(folder, 'App.yaml')).catch(() => undefined);
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
