import { expect, it } from 'vitest';
import { cleanLine } from '../../../../builder/farm/clean-line.ts';

it.each([
  ['text, tabs and letters of all languages stay', 'a\tb — é 漢字 👩‍🚀', 'a\tb — é 漢字 👩‍🚀'],
  ['colours stay', '\u001b[1;31mred\u001b[0m', '\u001b[1;31mred\u001b[0m'],
  ['colours by number stay', '\u001b[38;2;1;2;3mx', '\u001b[38;2;1;2;3mx'],
  ['movements of the cursor go', 'a\u001b[2J\u001b[10;10Hb\u001b[?25lc', 'abc'],
  ['a window title goes with its text', 'a\u001b]0;owned\u0007b', 'ab'],
  ['a link goes and its text stays', '\u001b]8;;http://x\u001b\\text\u001b]8;;\u001b\\', 'text'],
  ['a string that never ends takes the rest of its line', 'a\u001bPq####', 'a'],
  ['C1 controls are sequences too', 'a\u009b2Jb\u009d0;x\u009cc\u0085', 'abc'],
  ['a colour of C1 is one', '\u009b31mred', '\u001b[31mred'],
  ['requests to the terminal go', '\u001b[6n\u001b[>c\u001bZ\u001b(0x', 'x'],
  ['of a progress bar the last state stays', '10 %\r50 %\r100 %\r', '100 %'],
  ['an escape at the end of a line goes', 'a\u001b', 'a'],
  ['an unfinished sequence goes', 'a\u001b[12', 'a'],
  ['NUL, BEL, backspace and DEL go', 'a\0\u0007\b\u007fb', 'ab'],
  ['text that is turned around is marked', 'a\u202ecod.exe', 'a\ufffdcod.exe'],
  ['HTML is text', '<script>alert(1)</script>', '<script>alert(1)</script>'],
])('%s (builder.md 6, row 27)', (_name, line, clean) => {
  expect(cleanLine(line)).toBe(clean);
});

it('takes time in proportion to the line, whatever is in it', () => {
  for (const part of ['\u001b]', '\u001b[', '\u009d', '\r', '\u001b[31m', '\u001b(', '\u202e']) {
    const line = part.repeat(60_000);
    const begun = performance.now();
    cleanLine(line);
    expect(performance.now() - begun).toBeLessThan(2000);
  }
});
