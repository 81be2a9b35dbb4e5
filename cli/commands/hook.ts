import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { refuseRepository } from '../../builder/git/git-path.ts';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';
import { findCredential, type StoredCredential, serverUrl } from '../credentials.ts';
import { appOfPath, findRepository, type HookedRepository } from '../hook/find-repository.ts';
import type { SvnMapping } from '../hook/hook-scripts.ts';
import { hookStatus, installHook, uninstallHook } from '../hook/install-hook.ts';
import { toJson } from '../text.ts';

interface InstallFlags {
  readonly server?: string;
  readonly app?: string;
  readonly secretFile?: string;
  readonly credentialFile?: string;
  readonly lint?: boolean;
  readonly svn?: boolean;
  readonly map?: readonly string[];
}

const leastSecret = 16;
const usualMap = ['trunk=trunk', 'branches/*=*', 'tags/*=*'];

/** `hook install | status | uninstall REPO`: bare git repositories and Subversion repositories of one's own tell the farm of what comes in. */
export function registerHook(program: Command, context: CliContext): void {
  const hook = program
    .command('hook')
    .description('make a git or Subversion repository on this machine tell the farm of every push');

  hook
    .command('install <repository>')
    .description('write the hooks; existing ones are kept and run first')
    .option('--server <url>', 'server to tell (default: BRICKYARD_SERVER or this machine)')
    .option('--app <team/app>', 'what it becomes there (default: the last two parts of the path)')
    .option('--credential-file <file>', 'account as USER:PASSWORD (default: that of "brickyard login")')
    .option(
      '--secret-file <file>',
      'send signed notes to /hooks/generic, and let the farm fetch, instead of pushing',
    )
    .option('--lint', 'refuse pushes of an App.yaml with errors')
    .option('--svn', 'it must be a Subversion repository')
    .option('--map <path=tag>', 'Subversion: which folder is built to which tag; "*" is a name', collect)
    .action(async (path: string, flags: InstallFlags) => {
      const repository = await findRepository(context.cwd, path);
      checkKind(repository, path, flags);
      const server = serverUrl(context, flags.server);
      const app = appOf(repository, flags.app);
      const credential = await credentialOf(context, server, flags.credentialFile);
      const secret = flags.secretFile === undefined ? undefined : await readSecret(flags.secretFile);
      const way = repository.kind === 'svn' ? 'svn' : secret === undefined ? 'push' : 'webhook';
      const mappings = (flags.map ?? usualMap).map(parseMapping);
      await installHook(repository, {
        way,
        server,
        app,
        credential,
        ...(secret === undefined ? {} : { secret }),
        lint: flags.lint === true,
        mappings,
      });
      context.stderr(describeInstalled(repository, server, app));
    });

  hook
    .command('status <repository>')
    .description('what is installed, what waits, what happened last')
    .option('--json', 'print JSON')
    .action(async (path: string, flags: { readonly json?: boolean }) => {
      const status = await hookStatus(await findRepository(context.cwd, path));
      if (flags.json === true) context.stdout(toJson(status));
      else {
        const { installed, way = '', server = '', app = '', lint, waiting, refused, log } = status;
        const head = installed ? `${way} to ${server}, ${app}${lint ? ', with lint' : ''}` : 'not installed';
        context.stdout(
          [
            `hook      ${head}`,
            `waiting   ${waiting}`,
            `refused   ${refused}`,
            ...log.map((line) => `log       ${line}`),
            '',
          ].join('\n'),
        );
      }
    });

  hook
    .command('uninstall <repository>')
    .description('put back the hooks that were there before')
    .option('--force', 'also when something waits to be sent: it is dropped')
    .action(async (path: string, flags: { readonly force?: boolean }) => {
      const done = await uninstallHook(await findRepository(context.cwd, path), {
        force: flags.force === true,
      });
      context.stderr(done ? 'removed\n' : 'there was no hook of Brickyard\n');
    });
}

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

function checkKind({ kind }: HookedRepository, path: string, flags: InstallFlags): void {
  const fail = (message: string): never => {
    throw new UserError(message, { exitCode: 2 });
  };
  if (flags.svn === true && kind !== 'svn') fail(`${path} is no Subversion repository`);
  if (kind === 'svn' && flags.lint === true) fail('--lint is for git repositories');
  if (kind === 'svn' && flags.secretFile !== undefined)
    fail('--secret-file is for git repositories: packages need an account');
  if (kind === 'git' && flags.map !== undefined) fail('--map is for Subversion repositories');
}

function appOf({ path }: HookedRepository, given: string | undefined): string {
  const app = given ?? appOfPath(path);
  if (app === undefined) throw new UserError(`say --app TEAM/APP: ${path} does not tell it`, { exitCode: 2 });
  const [team = '', name = '', ...rest] = app.split('/');
  const unfit =
    rest.length > 0
      ? { refused: 'a team and an app, joined by one "/", are wanted' }
      : refuseRepository(team, name);
  if (unfit !== undefined) throw new UserError(`"${app}": ${unfit.refused}`, { exitCode: 2 });
  return app;
}

async function credentialOf(
  context: CliContext,
  server: string,
  file: string | undefined,
): Promise<StoredCredential | undefined> {
  if (file === undefined) return findCredential(context, server);
  const text = await readText(file);
  const colon = text.indexOf(':');
  if (colon <= 0 || /[\r\n]/.test(text)) {
    throw new UserError(`${file} must hold one line, USER:PASSWORD`, { exitCode: 2 });
  }
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

async function readSecret(file: string): Promise<string> {
  const secret = await readText(file);
  if (secret.length >= leastSecret) return secret;
  throw new UserError(`${file} must hold a secret of at least ${leastSecret} characters`, { exitCode: 2 });
}

/** Without the line end. */
async function readText(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).replace(/\r?\n$/, '');
  } catch (cause) {
    throw new UserError(`cannot read ${file}: ${(cause as Error).message}`, { cause, exitCode: 2 });
  }
}

/** `trunk=latest`, `branches/*=*`. Errors: UserError. */
function parseMapping(text: string): SvnMapping {
  const equals = text.lastIndexOf('=');
  const path = text.slice(0, Math.max(equals, 0)).replace(/^\/+|\/+$/g, '');
  const tag = text.slice(equals + 1);
  const stars = (part: string): number => part.split('*').length - 1;
  const fits =
    equals >= 0 &&
    /^[\w*][\w.*-]{0,100}$/.test(tag) &&
    !/[\p{Cc}]|(?:^|\/)\.\.(?:\/|$)|[^/]\*|\*[^/]/u.test(path) &&
    stars(path) <= 1 &&
    stars(tag) === stars(path);
  if (fits) return { path, tag };
  throw new UserError(`"${text}" is no mapping, such as trunk=latest, branches/*=* or tags/*=v*`, {
    exitCode: 2,
  });
}

function describeInstalled({ home, kind }: HookedRepository, server: string, app: string): string {
  const what = kind === 'svn' ? 'commit' : 'push';
  return (
    `installed: every ${what} goes to ${app} at ${server}\n` +
    `what cannot be sent waits in ${home}/spool and is sent again by itself for a day, and at the next ${what};\n` +
    `to be sure, run the same from the repository's owner's cron: */5 * * * * ${home}/deliver\n`
  );
}
