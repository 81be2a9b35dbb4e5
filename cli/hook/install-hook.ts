import { chmod, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../core/user-error.ts';
import type { StoredCredential } from '../credentials.ts';
import { deliverScript, type HookWay } from './deliver-script.ts';
import { pushWay, svnWay, webhookWay } from './deliver-ways.ts';
import { git, type HookedRepository } from './find-repository.ts';
import {
  give,
  type HookFile,
  hmacPads,
  ownerOf,
  prepareHome,
  previousOf,
  putHook,
  readHook,
  takeHook,
  writeHookFile,
} from './hook-home.ts';
import { postCommitScript, postReceiveScript, preReceiveScript, type SvnMapping } from './hook-scripts.ts';
import { hookMarker } from './shell-text.ts';

export interface InstallHookOptions {
  readonly way: HookWay;
  /** Origin. */
  readonly server: string;
  /** `team/app`. */
  readonly app: string;
  /** Signs in with it; undefined: a server where nobody has to. */
  readonly credential?: StoredCredential | undefined;
  /** `webhook`: one of the trigger's secrets. */
  readonly secret?: string;
  /** git: App.yaml is checked before a push is taken. */
  readonly lint: boolean;
  /** Subversion. */
  readonly mappings: readonly SvnMapping[];
}

/** What `hook status` tells. */
export interface HookStatus {
  readonly installed: boolean;
  readonly way?: HookWay;
  readonly server?: string;
  readonly app?: string;
  readonly lint: boolean;
  /** Pushes or commits that have not been sent. */
  readonly waiting: number;
  /** Those that the server will never take. */
  readonly refused: number;
  /** The end of the log. */
  readonly log: readonly string[];
}

const ways: Readonly<Record<HookWay, string>> = { push: pushWay, webhook: webhookWay, svn: svnWay };
const optionsKey = 'receive.advertisePushOptions';

/** Writes the hooks and what they need, or writes them anew; what waits stays. Errors: UserError. */
export async function installHook(repository: HookedRepository, options: InstallHookOptions): Promise<void> {
  const { home, hooks, kind, path } = repository;
  const { way, server, app, lint } = options;
  // A signed note needs no account.
  const credential = way === 'webhook' && !lint ? undefined : options.credential;
  const owner = await ownerOf(path);
  await prepareHome(home, owner);
  const settings = { home, repository: path, server, app };
  const files: HookFile[] = [
    { path: join(home, 'deliver'), text: deliverScript(settings, ways[way]), mode: 0o700 },
    {
      path: join(home, 'settings.json'),
      text: `${JSON.stringify({ version: 1, way, server, app, lint })}\n`,
    },
    ...secretFiles(home, credential, options.secret),
  ];
  for (const name of ['credentials', 'curl', 'inner', 'outer']) {
    const stale = join(home, name);
    if (files.every((file) => file.path !== stale)) await rm(stale, { force: true });
  }
  for (const file of files) await writeHookFile(file, owner);
  await mkdir(hooks, { recursive: true });
  const hook = (name: string) => {
    const file = join(hooks, name);
    return { file, settings: { home, previous: previousOf(file), server } };
  };
  if (kind === 'svn') {
    const { file, settings: own } = hook('post-commit');
    await putHook(file, postCommitScript(own, options.mappings), owner);
    return;
  }
  const after = hook('post-receive');
  await putHook(after.file, postReceiveScript(after.settings), owner);
  const before = hook('pre-receive');
  if (lint) await putHook(before.file, preReceiveScript(before.settings), owner);
  else await takeHook(before.file);
  await advertiseOptions(repository);
}

/** Puts back what was there. False: nothing of ours was there. Errors: UserError when something waits and nobody said to drop it. */
export async function uninstallHook(
  repository: HookedRepository,
  { force }: { force: boolean },
): Promise<boolean> {
  const { home, hooks, kind, path } = repository;
  const { waiting, installed } = await hookStatus(repository);
  if (waiting > 0 && !force) {
    throw new UserError(
      `${waiting} ${waiting === 1 ? 'entry waits' : 'entries wait'} in ${join(home, 'spool')}: run ${join(home, 'deliver')} once the server answers, or say --force to drop them`,
    );
  }
  const names = kind === 'svn' ? ['post-commit'] : ['post-receive', 'pre-receive'];
  let taken = false;
  for (const name of names) taken = (await takeHook(join(hooks, name))) || taken;
  if (kind === 'git' && (await readHook(join(home, 'set-push-options'))) !== undefined) {
    await changeConfig(path, '--unset-all', optionsKey);
  }
  await rm(home, { recursive: true, force: true });
  return taken || installed;
}

export async function hookStatus({ home, hooks, kind }: HookedRepository): Promise<HookStatus> {
  const main = await readHook(join(hooks, kind === 'svn' ? 'post-commit' : 'post-receive'));
  const settings = await readFile(join(home, 'settings.json'), 'utf8').catch(() => '{}');
  const { way, server, app } = JSON.parse(settings) as Partial<Pick<HookStatus, 'way' | 'server' | 'app'>>;
  const lines = ((await readHook(join(home, 'log'))) ?? '').split('\n').filter((line) => line !== '');
  const before = kind === 'git' ? await readHook(join(hooks, 'pre-receive')) : undefined;
  return {
    installed: main?.includes(hookMarker) === true,
    ...(way === undefined ? {} : { way }),
    ...(server === undefined ? {} : { server }),
    ...(app === undefined ? {} : { app }),
    lint: before?.includes(hookMarker) === true,
    waiting: await countEntries(join(home, 'spool')),
    refused: await countEntries(join(home, 'refused')),
    log: lines.slice(-5),
  };
}

async function countEntries(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => /^\d/.test(name) && !name.endsWith('.new')).length;
}

function secretFiles(
  home: string,
  credential: StoredCredential | undefined,
  secret: string | undefined,
): HookFile[] {
  const files: HookFile[] = [];
  if (credential !== undefined) {
    const { user, password } = credential;
    files.push(
      { path: join(home, 'credentials'), text: `username=${user}\npassword=${password}\n` },
      {
        path: join(home, 'curl'),
        text: `user = "${`${user}:${password}`.replaceAll(/["\\]/g, String.raw`\$&`)}"\n`,
      },
    );
  }
  if (secret !== undefined) {
    const { inner, outer } = hmacPads(secret);
    files.push({ path: join(home, 'inner'), text: inner }, { path: join(home, 'outer'), text: outer });
  }
  return files;
}

/** For `git push -o build.skip`; remembers whether it was on before. */
async function advertiseOptions({ home, path }: HookedRepository): Promise<void> {
  const now = await git(path, 'config', '--local', '--default=', '--get', optionsKey);
  if (now.trim() !== '') return;
  await changeConfig(path, optionsKey, 'true');
  const owner = await ownerOf(path);
  await writeHookFile({ path: join(home, 'set-push-options'), text: '' }, owner);
}

/** git writes the file anew, which then would be ours and not the owner's. */
async function changeConfig(repository: string, ...args: string[]): Promise<void> {
  const config = join(repository, 'config');
  const { mode } = await stat(config);
  const owner = await ownerOf(config);
  await git(repository, 'config', '--local', ...args);
  await chmod(config, mode & 0o7777);
  await give(config, owner);
}
