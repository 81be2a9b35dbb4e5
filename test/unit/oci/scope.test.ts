import { describe, expect, it } from 'vitest';
import { formatScope, parseScope, parseScopes } from '../../../oci/scope.ts';

describe('parseScopes', () => {
  const app = { type: 'repository', name: 'team/app', actions: ['pull', 'push'] };
  const base = { type: 'repository', name: 'team/base', actions: ['pull'] };

  it('reads several parameters', () => {
    expect(parseScopes(['repository:team/app:pull,push', 'repository:team/base:pull'])).toEqual([app, base]);
  });

  it('reads several scopes in one parameter, parted by spaces', () => {
    expect(parseScopes(['repository:team/app:pull,push  repository:team/base:pull'])).toEqual([app, base]);
  });

  it('leaves out what is no scope', () => {
    expect(parseScopes(['', 'nonsense', 'repository:team/base:pull', 'a:"b":pull', 'x:y'])).toEqual([base]);
  });

  it('reads no more than 100, so that a request cannot ask for endless decisions', () => {
    expect(parseScopes([Array(5000).fill('repository:a:pull').join(' ')])).toHaveLength(100);
  });
});

describe('parseScope', () => {
  it.each([
    ['registry:catalog:*', { type: 'registry', name: 'catalog', actions: ['*'] }],
    ['repository:a:*', { type: 'repository', name: 'a', actions: ['*'] }],
    ['repository:host:5000/a:pull', { type: 'repository', name: 'host:5000/a', actions: ['pull'] }],
    ['repository(plugin):a:pull', { type: 'repository(plugin)', name: 'a', actions: ['pull'] }],
    ['repository:a:pull,pull,,push', { type: 'repository', name: 'a', actions: ['pull', 'push'] }],
    ['repository:a:', { type: 'repository', name: 'a', actions: [] }],
  ])('reads %s', (text, scope) => {
    expect(parseScope(text)).toEqual(scope);
  });

  it.each([
    'repository',
    'repository:a',
    ':a:pull',
    'repository::pull',
    'Repository:a:pull',
    'repository:a:PULL',
    'repository:a b:pull',
  ])('refuses %s', (text) => {
    expect(parseScope(text)).toBeUndefined();
  });

  it('is written back as it was read', () => {
    expect(formatScope({ type: 'repository', name: 'a/b', actions: ['pull', 'push'] })).toBe(
      'repository:a/b:pull,push',
    );
  });
});
