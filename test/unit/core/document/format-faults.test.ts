import { describe, expect, it } from 'vitest';
import type { DocumentFault } from '../../../../core/document/document.ts';
import { formatFaults } from '../../../../core/document/format-faults.ts';

const fault: DocumentFault = {
  code: 'E014',
  severity: 'error',
  line: 2,
  column: 3,
  length: 5,
  path: 'entrypoints.web_1',
  message: "'_' is not allowed",
  hint: 'try "web-1"',
};

const document = { file: 'App.yaml', text: 'entrypoints:\n  web_1: {cmd: x}\n' };

describe('formatFaults', () => {
  it('prints place, code, path, message, hint, the source line and a caret', () => {
    expect(formatFaults([fault], document)).toBe(
      [
        `App.yaml:2:3 error E014 entrypoints.web_1: '_' is not allowed (try "web-1")`,
        '    2 |   web_1: {cmd: x}',
        '      |   ^^^^^',
        '',
      ].join('\n'),
    );
  });

  it('colours only when asked', () => {
    expect(formatFaults([fault], document)).not.toContain('\u001B');
    expect(formatFaults([fault], document, 'text', { color: true })).toContain('\u001B[31merror E014');
  });

  it('prints JSON for machines', () => {
    expect(JSON.parse(formatFaults([fault], document, 'json'))).toEqual({
      file: 'App.yaml',
      faults: [fault],
    });
  });

  it('prints commands for GitHub, with what would end a command escaped', () => {
    const hostile = { ...fault, message: 'a\n::set-output name=x::100%' };

    expect(formatFaults([hostile], { ...document, file: 'a:b,c' }, 'github')).toBe(
      '::error file=a%3Ab%2Cc,line=2,col=3,title=E014::entrypoints.web_1: a%0A::set-output name=x::100%25 (try "web-1")\n',
    );
  });

  it('lets no control sequence of the file or of a message through to a terminal', () => {
    const text = formatFaults([{ ...fault, message: 'x\u001B[2J\u009By\u202E' }], {
      file: 'a\u0007.yaml',
      text: 'a\n  \u001B]0;title\u0007web\n',
    });

    expect(text).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}]/u);
  });

  it('shows a long line around the place', () => {
    const text = formatFaults([{ ...fault, line: 1, column: 5_001, length: 3 }], {
      file: 'a',
      text: `${'x'.repeat(5_000)}bad${'y'.repeat(5_000)}`,
    });
    const [, source = '', caret = ''] = text.split('\n');

    expect(source.length).toBeLessThan(160);
    expect(source.slice(caret.indexOf('^'), caret.lastIndexOf('^') + 1)).toBe('bad');
  });

  it('puts the caret under the place after tabs and wide characters', () => {
    const [, source = '', caret = ''] = formatFaults([{ ...fault, line: 1, column: 4, length: 1 }], {
      file: 'a',
      text: '\t名x: 1',
    }).split('\n');

    expect(source).toBe('    1 |  名x: 1');
    expect(caret).toBe('      |  \u3000 ^');
  });
});
