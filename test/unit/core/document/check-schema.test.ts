import { describe, expect, it } from 'vitest';
import { checkSchema, type JsonSchema } from '../../../../core/document/check-schema.ts';
import { parseDocument } from '../../../../core/document/parse-document.ts';

const schema: JsonSchema = {
  type: 'object',
  required: ['name', 'size'],
  additionalProperties: false,
  properties: {
    name: { type: 'string', pattern: '^[a-z]+$', 'x-message': 'must be lower-case letters' },
    size: { type: 'integer', minimum: 1, maximum: 9 },
    kind: { enum: ['web', 'worker'] },
    envs: { type: 'object', additionalProperties: { type: 'string' } },
    roles: {
      type: 'object',
      propertyNames: { pattern: '^[a-z]+$', 'x-code': 'E014', 'x-message': 'letters only' },
    },
    list: { type: ['string', 'array'], items: { type: 'string' }, minItems: 1 },
    either: {
      anyOf: [
        { type: 'string', title: 'text' },
        { type: 'array', items: { type: 'string' }, title: 'a list' },
      ],
    },
  },
};

function check(text: string): string[] {
  return checkSchema(parseDocument('a.yaml', text), schema).map((fault) => {
    const hint = fault.hint === undefined ? '' : ` (${fault.hint})`;
    return `${fault.line}:${fault.column} ${fault.code} ${fault.path}: ${fault.message}${hint}`;
  });
}

describe('checkSchema', () => {
  it('has nothing to say about a good document', () => {
    expect(check('name: x\nsize: 1\nlist: [a]\n')).toEqual([]);
  });

  it.each([
    [
      'an unknown key, at the key, with what was meant',
      'name: a\nsize: 1\nkidn: web\n',
      ['3:1 E010 kidn: unknown key "kidn" (did you mean "kind"?)'],
    ],
    [
      'every missing key',
      '{}\n',
      ['1:1 E011 : the key "name" is missing', '1:1 E011 : the key "size" is missing'],
    ],
    [
      'a value that is none of the allowed ones',
      'name: a\nsize: 1\nkind: wrker\n',
      ['3:7 E013 kind: must be web or worker (did you mean "worker"?)'],
    ],
    [
      'a number that must be text, with the quotes',
      'name: a\nsize: 1\nenvs: {V: 1.10}\n',
      ['3:11 E012 envs.V: must be text, not a number (write "1.10")'],
    ],
    [
      'a float that looks like a commit',
      'name: a\nsize: 1\nenvs: {V: 12e4567}\n',
      ['3:11 E012 envs.V: must be text, not a number (write "12e4567")'],
    ],
    ['a pattern in plain words', 'name: A1\nsize: 1\n', ['1:7 E013 name: must be lower-case letters']],
    ['a number out of range', 'name: a\nsize: 10\n', ['2:7 E013 size: must be at most 9']],
    [
      'a bad key by its own code',
      'name: a\nsize: 1\nroles: {a_b: 1}\n',
      ['3:9 E014 roles.a_b: letters only'],
    ],
    [
      'only the type of a value of the wrong type',
      'name: [1]\nsize: 1\n',
      ['1:1 E012 name: must be text, not a list'],
    ],
    ['an empty list', 'name: a\nsize: 1\nlist: []\n', ['3:1 E013 list: must not be empty']],
    [
      'the forms of a choice by their titles',
      'name: a\nsize: 1\neither: 5\n',
      ['3:9 E013 either: must be text or a list'],
    ],
    ['a list where a map must be', '- a\n', ['1:1 E012 : must be a map, not a list']],
  ])('reports %s', (_name, text, expected) => {
    expect(check(text)).toEqual(expected);
  });

  it('keeps at most a hundred faults, in the order of the file', () => {
    const faults = check(
      `name: a\nsize: 1\n${Array.from({ length: 500 }, (_, index) => `x${index}: 1`).join('\n')}\n`,
    );

    expect(faults).toHaveLength(100);
    expect(faults[0]).toMatch(/^3:1 /);
  });
});
