import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';

/** Ids of git's fsck. Found in the histories of well-known projects and harmless: refusing them refuses honest people. */
export const harmlessFaults = [
  'zeroPaddedFilemode',
  'badTimezone',
  'missingSpaceBeforeDate',
  'missingSpaceBeforeEmail',
  'missingEmail',
  'badDate',
  'badDateOverflow',
  'missingNameBeforeEmail',
  'zeroPaddedDate',
  'multipleAuthors',
  'gitmodulesUrl',
  'gitmodulesParse',
] as const;

/**
 * Settings for every git process of this server, given through the environment so that a damaged or tampered repository folder
 * cannot change them.
 */
function gitSettings(hooks: string): readonly (readonly [string, string])[] {
  return [
    ['core.hooksPath', hooks],
    // The folder is ours whatever its owner: volumes of containers often carry another uid.
    ['safe.directory', '*'],
    ['http.receivepack', 'true'],
    ['http.uploadpack', 'true'],
    ['http.getanyfile', 'false'],
    ['receive.procReceiveRefs', 'refs'],
    ['receive.advertisePushOptions', 'true'],
    ['receive.autogc', 'false'],
    ['gc.auto', '0'],
    ['maintenance.auto', 'false'],
    // Always a pack, never loose objects: a pack is what is kept in the object store.
    ['transfer.unpackLimit', '1'],
    ['receive.fsckObjects', 'true'],
    ...harmlessFaults.map((id) => [`receive.fsck.${id}`, 'ignore'] as const),
    ['uploadpack.allowAnySHA1InWant', 'false'],
    ['uploadpack.hideRefs', 'refs/brickyard'],
    ['receive.maxInputSize', '0'],
    ['pack.threads', '2'],
    ['core.fsync', 'none'],
    ['core.fsmonitor', 'false'],
    ['protocol.allow', 'never'],
  ];
}

/** A clean environment: nothing of the server's own (no GIT_*, no credentials, no home) reaches git or a hook. */
export function gitEnvironment(options: {
  hooks: string;
  home: string;
  path?: string;
}): Record<string, string> {
  const environment: Record<string, string> = {
    PATH: options.path ?? '/usr/local/bin:/usr/bin:/bin',
    HOME: options.home,
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_TERMINAL_PROMPT: '0',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_OPTIONAL_LOCKS: '0',
  };
  const settings = gitSettings(options.hooks);
  environment['GIT_CONFIG_COUNT'] = String(settings.length);
  settings.forEach(([key, value], index) => {
    environment[`GIT_CONFIG_KEY_${index}`] = key;
    environment[`GIT_CONFIG_VALUE_${index}`] = value;
  });
  return environment;
}

/** What a git process said on stderr, at most its last 8 KiB. */
export function collectStderr(child: ChildProcess): () => string {
  let text = '';
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (chunk: string) => {
    text = (text + chunk).slice(-8192);
  });
  return () => text.trim();
}

export interface GitProcess {
  readonly child: ChildProcess;
  readonly stderr: () => string;
  /** Exit code (128 + signal number is not told apart: -1 for a signal); rejects when git could not be started. */
  readonly exited: Promise<number>;
}

/** Starts `git <args>`; `args` are never text from outside unless checked before. */
export function startGit(
  args: readonly string[],
  options: { environment: Record<string, string>; cwd?: string; stdio: StdioOptions },
): GitProcess {
  const child = spawn('git', args, {
    env: options.environment,
    stdio: options.stdio,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const stderr = collectStderr(child);
  const exited = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? -1));
  });
  // The owner awaits it later; until then a failed start must not end the server.
  exited.catch(() => {});
  return { child, stderr, exited };
}

/** Resolves when `child` runs; rejects when it could not be started (no git on this machine). */
export async function untilStarted(child: ChildProcess): Promise<void> {
  if (child.pid !== undefined) return;
  await once(child, 'spawn');
}
