import { describe, expect, it } from 'vitest';
import { formatScopes, parseScopes as parseAtTokenService } from '../../core/auth/scope.ts';
import { formatScope, parseScopes as parseInOci } from '../../oci/scope.ts';

// core/ may not import oci/, so each has a parser; a client and the token service must read the same text alike.
const parsers = [
  {
    room: 'core/auth',
    read: (parameters: readonly string[]) => formatScopes(parseAtTokenService(parameters)),
  },
  { room: 'oci', read: (parameters: readonly string[]) => parseInOci(parameters).map(formatScope).join(' ') },
];

const cases: readonly (readonly [name: string, parameters: readonly string[], read: string])[] = [
  ['nothing', [], ''],
  ['one scope', ['repository:team/app:pull'], 'repository:team/app:pull'],
  ['several actions', ['repository:team/app:pull,push'], 'repository:team/app:pull,push'],
  ['every action', ['repository:team/app:*'], 'repository:team/app:*'],
  ['an action given twice', ['repository:team/app:pull,pull'], 'repository:team/app:pull'],
  ['an empty action', ['repository:team/app:pull,,push'], 'repository:team/app:pull,push'],
  [
    'several parameters',
    ['repository:a:pull,push', 'repository:b:pull'],
    'repository:a:pull,push repository:b:pull',
  ],
  ['spaces', ['repository:a:pull,push repository:b:pull'], 'repository:a:pull,push repository:b:pull'],
  ['several spaces', [' repository:a:pull  repository:b:pull '], 'repository:a:pull repository:b:pull'],
  [
    'both ways',
    ['repository:a:pull repository:b:*', 'repository:c:push'],
    'repository:a:pull repository:b:* repository:c:push',
  ],
  ['the catalog', ['registry:catalog:*'], 'registry:catalog:*'],
  ['a scope beside nonsense', ['nonsense', '', 'repository:a:pull', 'repository:b'], 'repository:a:pull'],
  ['a scope without a name', ['repository::pull'], ''],
  ['a scope without a type', [':a:pull'], ''],
];

describe.each(parsers)('scopes as $room reads them', ({ read }) => {
  it.each(cases)('%s', (_, parameters, expected) => {
    expect(read(parameters)).toBe(expected);
  });
});
