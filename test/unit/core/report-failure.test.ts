import { describe, expect, it } from 'vitest';
import { reportFailure } from '../../../core/process.ts';
import { UserError } from '../../../core/user-error.ts';

function report(error: unknown): { code: number; text: string } {
  let text = '';
  const code = reportFailure(error, (line) => {
    text += line;
  });
  return { code, text };
}

function errno(code: string, message: string, path?: string): Error {
  return Object.assign(new Error(message), { code, ...(path === undefined ? {} : { path }) });
}

describe('reportFailure', () => {
  it('prints the text of a UserError alone, with its exit code', () => {
    expect(report(new UserError('no such thing', { exitCode: 2 }))).toEqual({
      code: 2,
      text: 'brickyard: no such thing\n',
    });
  });

  it('calls a full disk no fault of the program, also as a cause', () => {
    const full = errno('ENOSPC', 'ENOSPC: no space left on device, write');

    for (const error of [full, new Error('cannot store it', { cause: full })]) {
      expect(report(error)).toEqual({
        code: 1,
        text: 'brickyard: the disk is full: ENOSPC: no space left on device, write\n',
      });
    }
  });

  it('names the file once', () => {
    const text = "EACCES: permission denied, open '/x'";

    expect(report(errno('EACCES', text, '/x')).text).toBe(`brickyard: this user may not do that: ${text}\n`);
    expect(report(errno('EROFS', 'EROFS: read-only', '/y')).text).toContain('EROFS: read-only (/y)');
  });

  it('asks to report anything else, with its stack', () => {
    const { code, text } = report(new TypeError('x is not a function'));

    expect(code).toBe(1);
    expect(text).toContain('please report it');
    expect(text).toContain('report-failure.test.ts');
    expect(report('thrown text').text).toContain('thrown text');
  });
});
