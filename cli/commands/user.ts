import { readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import type { Command } from 'commander';
import { createBcrypt } from '../../core/auth/bcrypt.ts';
import { isUserName, parseHtpasswd, removeHtpasswdUser, setHtpasswdUser } from '../../core/auth/htpasswd.ts';
import { updatePasswordFile } from '../../core/auth/password-file-writer.ts';
import { UserError } from '../../core/user-error.ts';
import { askPassword } from '../ask.ts';
import { readConfig } from '../config.ts';
import type { CliContext } from '../context.ts';

interface UserOptions {
  readonly file?: string;
  readonly config?: string;
  readonly passwordStdin?: boolean;
  readonly json?: boolean;
}

/** `user add|rm|ls`: the accounts in the htpasswd file of this machine's server. A running server notices by itself. */
export function registerUser(program: Command, context: CliContext): void {
  const user = program.command('user').description('accounts of the server on this machine');
  const withFile = (command: Command): Command =>
    command
      .option('--file <htpasswd>', 'the file of accounts (default: auth.htpasswd, else users.htpasswd here)')
      .option('--config <file>', 'configuration file (default: brickyard.yaml)');

  withFile(user.command('add <name>'))
    .description('add an account, or set its password')
    .option('--password-stdin', 'read the password from standard input')
    .action((name: string, options: UserOptions) => addUser(context, name, options));
  withFile(user.command('rm <name>'))
    .description('remove an account; its tokens stop working at once')
    .action((name: string, options: UserOptions) => removeUser(context, name, options));
  withFile(user.command('ls'))
    .description('list accounts')
    .option('--json', 'as JSON')
    .action((options: UserOptions) => listUsers(context, options));
}

async function addUser(context: CliContext, name: string, options: UserOptions): Promise<void> {
  if (!isUserName(name)) {
    throw new UserError(
      `"${name}" is no account name: 1 to 64 letters, digits, ".", "_", "@" or "-", and not "anonymous"`,
      { exitCode: 2 },
    );
  }
  const { file, configured } = accountsFile(context, options);
  const password = await askPassword(context, {
    confirm: true,
    ...(options.passwordStdin === undefined ? {} : { passwordStdin: options.passwordStdin }),
  });
  // bcrypt reads 72 bytes: a longer password would be weaker than it looks.
  if (Buffer.byteLength(password) > 72)
    throw new UserError('a password may have at most 72 bytes', { exitCode: 2 });
  if (/\p{Cc}/u.test(password))
    throw new UserError('a password may hold no control characters', { exitCode: 2 });
  const bcrypt = createBcrypt();
  let known = false;
  try {
    const hash = await bcrypt.hash(password);
    await updatePasswordFile(file, (text) => {
      known = parseHtpasswd(text).users.has(name);
      return setHtpasswdUser(text, name, hash);
    });
  } finally {
    await bcrypt.close();
  }
  context.stderr(known ? `${name} has a new password\n` : `added ${name} to ${shown(context, file)}\n`);
  if (!configured) {
    context.stderr(
      `to switch authentication on, set auth.htpasswd in brickyard.yaml, or BRICKYARD_AUTH_HTPASSWD=${shown(context, file)}\n`,
    );
  }
}

async function removeUser(context: CliContext, name: string, options: UserOptions): Promise<void> {
  const { file } = accountsFile(context, options);
  let found = false;
  await updatePasswordFile(file, (text) => {
    const rest = removeHtpasswdUser(text, name);
    found = rest !== undefined;
    return rest;
  });
  if (!found) throw new UserError(`there is no account "${name}" in ${shown(context, file)}`);
  context.stderr(`removed ${name}\n`);
}

function listUsers(context: CliContext, options: UserOptions): void {
  const { file } = accountsFile(context, options);
  const { users, faults } = parseHtpasswd(readAccounts(file));
  const names = [...users.keys()].sort();
  for (const fault of faults) context.stderr(`${shown(context, file)}:${fault.line}: ${fault.message}\n`);
  context.stdout(
    options.json === true ? `${JSON.stringify(names)}\n` : names.map((name) => `${name}\n`).join(''),
  );
}

function readAccounts(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new UserError(`cannot read the accounts in ${file}: ${(cause as Error).message}`, { cause });
  }
}

function accountsFile(context: CliContext, options: UserOptions): { file: string; configured: boolean } {
  if (options.file !== undefined) return { file: resolve(context.cwd, options.file), configured: true };
  const { auth } = readConfig({
    env: context.env,
    cwd: context.cwd,
    ...(options.config === undefined ? {} : { file: options.config }),
  });
  return auth.htpasswd === undefined
    ? { file: resolve(context.cwd, 'users.htpasswd'), configured: false }
    : { file: auth.htpasswd, configured: true };
}

function shown(context: CliContext, file: string): string {
  const path = relative(context.cwd, file);
  return path.startsWith('..') ? file : path;
}
