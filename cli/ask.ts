import type { ReadStream } from 'node:tty';
import { UserError } from '../core/user-error.ts';
import type { CliContext } from './context.ts';

/** Nobody types more; a file that was piped in by mistake is not read to its end. */
const maxLength = 4096;

export function isTerminal(context: CliContext): boolean {
  return (context.stdin as ReadStream | undefined)?.isTTY === true;
}

/** One line from standard input, without its end. Errors: UserError. */
export async function readLine(context: CliContext): Promise<string> {
  let text = '';
  for await (const chunk of context.stdin ?? []) {
    text += String(chunk);
    if (text.includes('\n') || text.length > maxLength) break;
  }
  return (text.split('\n')[0] ?? '').replace(/\r$/, '').slice(0, maxLength);
}

/** Asks on a terminal; `hidden` shows nothing of what is typed. Errors: UserError when there is no terminal, or on Ctrl-C. */
export function ask(
  context: CliContext,
  question: string,
  { hidden = false }: { hidden?: boolean } = {},
): Promise<string> {
  const terminal = context.stdin as ReadStream | undefined;
  if (terminal?.isTTY !== true) {
    return Promise.reject(new UserError(`${question}: there is no terminal to ask on`, { exitCode: 2 }));
  }
  context.stderr(`${question}: `);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let typed = '';
  const onData = (chunk: Buffer): void => {
    for (const character of chunk.toString('utf8')) {
      if (character === '\r' || character === '\n') return resolve(typed);
      if (character === '\u0003' || character === '\u0004') {
        return reject(new UserError('given up', { exitCode: 130 }));
      }
      if (character === '\u007f' || character === '\b') {
        if (typed !== '' && !hidden) context.stderr('\b \b');
        typed = Array.from(typed).slice(0, -1).join('');
      } else if (character >= ' ' && typed.length < maxLength) {
        typed += character;
        if (!hidden) context.stderr(character);
      }
    }
  };
  // Raw, because a terminal in its usual mode would show what is typed.
  terminal.setRawMode(true);
  terminal.on('data', onData);
  terminal.resume();
  return promise.finally(() => {
    terminal.off('data', onData);
    terminal.setRawMode(false);
    terminal.pause();
    context.stderr('\n');
  });
}

export interface PasswordOptions {
  /** `--password-stdin`. */
  readonly passwordStdin?: boolean;
  /** Ask twice: for a password that is set, where a typing mistake would lock out. */
  readonly confirm?: boolean;
}

/** Errors: UserError. */
export async function askPassword(context: CliContext, options: PasswordOptions): Promise<string> {
  if (options.passwordStdin === true) {
    const password = await readLine(context);
    if (password === '') throw new UserError('standard input holds no password', { exitCode: 2 });
    return password;
  }
  if (!isTerminal(context)) {
    throw new UserError('there is no terminal to ask for the password on: use --password-stdin', {
      exitCode: 2,
    });
  }
  const password = await ask(context, 'Password', { hidden: true });
  if (password === '') throw new UserError('the password must not be empty', { exitCode: 2 });
  if (options.confirm === true && (await ask(context, 'Again', { hidden: true })) !== password) {
    throw new UserError('the two passwords differ');
  }
  return password;
}
