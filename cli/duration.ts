import { UserError } from '../core/user-error.ts';

const units: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 };

/** Milliseconds of `90`, `90s`, `15m`, `24h` or `7d`; a number alone is seconds. Errors: UserError. */
export function parseDuration(option: string, text: string): number {
  const [, number = '', unit = ''] = /^(\d{1,9})([smhd]?)$/.exec(text) ?? [];
  const seconds = units[unit];
  if (number === '' || seconds === undefined) {
    throw new UserError(`${option} ${text} is no time; write 90s, 15m, 24h or 7d`, { exitCode: 2 });
  }
  return Number(number) * seconds * 1000;
}
