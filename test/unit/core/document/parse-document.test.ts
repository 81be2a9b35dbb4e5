import { describe, expect, it } from 'vitest';
import { parseDocument } from '../../../../core/document/parse-document.ts';

function places(text: string | Uint8Array): string[] {
  return parseDocument('a.yaml', text).faults.map(
    (fault) => `${fault.line}:${fault.column} ${fault.code} ${fault.message}`,
  );
}

describe('parseDocument accepts', () => {
  it.each([
    ['CRLF line ends', 'a: 1\r\nb: [x]\r\n', { a: 1, b: ['x'] }],
    ['a byte order mark', '\uFEFFa: 1\n', { a: 1 }],
    ['document markers around one document', '---\na: 1\n...\n', { a: 1 }],
    ['an anchor and its alias', 'a: &x [1]\nb: *x\n', { a: [1], b: [1] }],
    ['numbers as keys, as they are written', '0x10: a\n8080: b\n', { '0x10': 'a', '8080': 'b' }],
    [
      'the YAML 1.2 core schema only',
      'a: no\nb: 22:22\nc: 0o17\nd: 2001-01-01\n',
      { a: 'no', b: '22:22', c: 15, d: '2001-01-01' },
    ],
    ['an empty file as null', '', null],
    ['comments alone as null', '# nothing\n', null],
    ['emoji as a key', '🚀: 1\n', { '🚀': 1 }],
  ])('%s', (_name, text, value) => {
    const document = parseDocument('a.yaml', text);

    expect(document.faults).toEqual([]);
    expect(document.value === null ? null : JSON.parse(JSON.stringify(document.value))).toEqual(value);
  });

  it('keeps __proto__ as a plain key of a map without prototype', () => {
    const { value } = parseDocument('a.yaml', '__proto__: {admin: true}\nconstructor: 1\n');

    expect(Object.getPrototypeOf(value)).toBeNull();
    expect(Object.keys(value as object)).toEqual(['__proto__', 'constructor']);
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
  });
});

describe('parseDocument refuses, with the place', () => {
  it.each<[string, string | Uint8Array, string]>([
    ['a duplicate key', 'a: 1\nb: 2\na: 3\n', '3:1 E003 the key "a" stands twice in this map'],
    ['a merge key', 'a: &x {q: 1}\nb:\n  <<: *x\n', '3:3 E004 merge keys (<<) are not accepted'],
    [
      'a merge key that would set a prototype',
      'a:\n  <<: {__proto__: {x: 1}}\n',
      '2:3 E004 merge keys (<<) are not accepted',
    ],
    ['an alias without anchor', 'a: *y\n', '1:4 E004 the alias *y has no anchor before it'],
    ['an alias that contains itself', 'a: &x [*x]\n', '1:8 E004 the alias *x contains itself'],
    ['a JavaScript tag', 'a: !!js/function "x"\n', '1:4 E004 YAML tags (!name) are not accepted'],
    ['a Python tag', 'a: !!python/object:os.system x\n', '1:4 E004 YAML tags (!name) are not accepted'],
    ['a tag of its own', 'a: !secret x\n', '1:4 E004 YAML tags (!name) are not accepted'],
    ['a directive', '%YAML 1.1\n---\na: 1\n', '1:1 E004 YAML directives (%NAME) are not accepted'],
    ['two documents', 'a: 1\n---\nb: 2\n', '3:1 E004 the file holds more than one YAML document'],
    ['a tab as indentation', 'a:\n\tb: 1\n', '2:1 E002 a tab is used for indentation'],
    ['a map as a key', '{a: 1}: 2\n', '1:1 E004 a key must be text'],
    ['a NUL', 'a: x\0y\n', '1:5 E001 a NUL is not allowed in the file'],
    ['a NUL by escape', 'a: "\\0"\n', '1:4 E004 a NUL is not allowed in a value'],
    [
      'half a surrogate pair by escape',
      'a: "\\ud800"\n',
      '1:4 E004 half a surrogate pair is not a character',
    ],
    [
      'a terminal escape',
      'a: \u001B[2J\n',
      '1:4 E001 the control character U+001B is not allowed in the file',
    ],
    [
      'a lone carriage return',
      'a: 1\rb: 2\n',
      '1:5 E001 a carriage return without a line feed is not allowed in the file',
    ],
    ['UTF-16', Buffer.from('\uFEFFa: 1', 'utf16le'), '1:1 E001 the file is UTF-16; only UTF-8 is read'],
    ['bytes that are no UTF-8', Buffer.from('a: \xFF\n', 'latin1'), '1:4 E001 this byte is not UTF-8 text'],
    ['more than 256 KiB', 'x'.repeat(262_145), '1:1 E001 the file has 262145 bytes; at most 262144 are read'],
  ])('%s', (_name, text, expected) => {
    expect(places(text)[0]).toBe(expected);
  });

  it.each([
    ['flow lists', `a: ${'['.repeat(10_000)}`],
    ['block lists', '- '.repeat(100_000)],
    ['maps', Array.from({ length: 400 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n')],
    ['explicit keys', '? '.repeat(100_000)],
    ['closed flow lists one too deep', `a: ${'['.repeat(20)}${']'.repeat(20)}`],
  ])('%s nested too deep', (_name, text) => {
    expect(places(text)[0]).toMatch(/E004 maps and lists are nested more than 20 levels deep/);
  });

  it('a bomb of merge keys, before it takes memory', () => {
    const levels = Array.from({ length: 12 }, (_, level) => {
      const from = Array(9).fill(`*a${level}`).join(', ');
      return `a${level + 1}: &a${level + 1}\n  <<: [${from}]\n  k${level}: 1\n`;
    });
    const started = performance.now();
    const { faults } = parseDocument('f', `a0: &a0 {x: 1}\n${levels.join('')}`, { mergeKeys: true });

    expect(faults.map(({ code }) => code)).toContain('E004');
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  it('an alias bomb, before it takes memory', () => {
    const levels = Array.from('bcdefghij', (name, index) => {
      const inner = Array(10).fill(`*${'abcdefghij'[index]}`).join(',');
      return `${name}: &${name} [${inner}]`;
    });

    expect(places(`a: &a [x,x,x,x,x,x,x,x,x,x]\n${levels.join('\n')}\n`)[0]).toMatch(/too many values/);
  });

  it.each([
    ['15 000 keys', Array.from({ length: 15_000 }, (_, index) => `k${index}:`).join('\n')],
    ['30 000 equal keys', `{${'a,'.repeat(30_000)}}`],
    ['nothing but closing braces', '}'.repeat(260_000)],
    ['nothing but directives', '%a\n'.repeat(80_000)],
    ['nothing but commas', `{${','.repeat(20_000)}`],
    ['a quote that never ends', `"${'\\'.repeat(260_000)}`],
  ])('takes bounded time and few faults for %s', (_name, text) => {
    const started = performance.now();

    expect(places(text).length).toBeLessThanOrEqual(100);
    expect(performance.now() - started).toBeLessThan(8_000);
  });
});

describe('SourceDocument', () => {
  const text = 'entrypoints:\n  web:\n    ports: [1.10, "x"]\n    empty:\n';

  it.each<[readonly (string | number)[], 'key' | 'value', string]>([
    [['entrypoints', 'web', 'ports', 0], 'value', '3:13+4 entrypoints.web.ports[0]'],
    [['entrypoints', 'web', 'ports'], 'key', '3:5+5 entrypoints.web.ports'],
    [['entrypoints', 'web'], 'value', '2:3+3 entrypoints.web'],
    [['entrypoints', 'web', 'missing'], 'value', '2:3+3 entrypoints.web.missing'],
    [['nowhere'], 'value', '1:1+1 nowhere'],
    [[], 'value', '1:1+1 '],
  ])('points to %j by its %s', (path, at, expected) => {
    const fault = parseDocument('a.yaml', text).fault(path, { code: 'X', message: 'm', at });

    expect(`${fault.line}:${fault.column}+${fault.length} ${fault.path}`).toBe(expected);
  });

  it('tells a number as it was written', () => {
    const document = parseDocument('a.yaml', text);

    expect(document.written(['entrypoints', 'web', 'ports', 0])).toBe('1.10');
    expect(document.written(['entrypoints'])).toBeUndefined();
  });
});
