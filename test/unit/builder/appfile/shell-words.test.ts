import { describe, expect, it } from 'vitest';
import { splitShellWords } from '../../../../builder/appfile/shell-words.ts';

describe('splitShellWords', () => {
  it.each([
    ['node server.js', ['node', 'server.js']],
    ['  node\t server.js \n', ['node', 'server.js']],
    [`sh -c 'a && b | c > d; $X'`, ['sh', '-c', 'a && b | c > d; $X']],
    ['say "a \\"b\\" \\\\ c" \'d e\'f', ['say', 'a "b" \\ c', 'd ef']],
    ['java -cp lib/* -Dx=~/y Main', ['java', '-cp', 'lib/*', '-Dx=~/y', 'Main']],
    ['a \'\' ""', ['a', '', '']],
    ['echo \\$HOME a\\ b', ['echo', '$HOME', 'a b']],
    ['x a=b #c', ['x', 'a=b', '#c']],
    ['echo "it\'s"', ['echo', "it's"]],
    ['echo "a\\n"', ['echo', 'a\\n']],
  ])('splits %j as sh does', (command, words) => {
    expect(splitShellWords(command)).toEqual({ words });
  });

  it.each([
    ['a && b', '"&&"'],
    ['a || b', '"||"'],
    ['a | b', '"|"'],
    ['a > b', '">"'],
    ['a >> b', '">>"'],
    ['a < b', '"<"'],
    ['a; b', '";"'],
    ['a &', '"&"'],
    ['a $PORT', '"$PORT"'],
    ['a ${PORT}', '"${PORT}"'],
    ['a "$port1"', '"$port1"'],
    ['a $(b)', '"$("'],
    ['a `b`', '"`"'],
    ['PORT=1 node x', '"PORT=…"'],
    ['a\nb', 'several lines'],
  ])('says that %j needs a shell', (command, what) => {
    const split = splitShellWords(command);

    expect(split).toMatchObject({ shell: true, error: expect.stringContaining(what) });
  });

  it.each(["a 'b", 'a "b', 'a \\', '', ' \t\n', "''", '""'])('refuses %j', (command) => {
    expect(splitShellWords(command)).toMatchObject({ shell: false });
  });
});
