import { expect, it } from 'vitest';
import { readVariables, setVariables } from '../../../../scripts/compose/variables.ts';

const text = '# a comment with A=1\nA=1\nB=two words\n\nC=http://host:1/?x=y\n';

it('variables are the lines with a name, comments are not', () => {
  expect(readVariables(text)).toEqual({ A: '1', B: 'two words', C: 'http://host:1/?x=y' });
});

it('lines that Windows ended hold the same values', () => {
  expect(readVariables('A=1\r\nB=2\r\n')).toEqual({ A: '1', B: '2' });
});

it('a variable is changed in its line, a new one is added at the end, and everything else stays', () => {
  const changed = setVariables(text, { B: 'three', D: 'new' });

  expect(changed).toBe('# a comment with A=1\nA=1\nB=three\n\nC=http://host:1/?x=y\nD=new\n');
  expect(readVariables(changed)).toEqual({ A: '1', B: 'three', C: 'http://host:1/?x=y', D: 'new' });
});

it('setting what is there already changes nothing', () => {
  expect(setVariables(text, { A: '1' })).toBe(text);
});
