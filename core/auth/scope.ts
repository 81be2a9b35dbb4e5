import { isAction } from './access-rules.ts';
import { type Action, type Authorizer, actions, type Principal } from './authorizer.ts';

/** What a token is asked for and what it grants: one entry of the token's `access` claim (docker's token specification). */
export interface Scope {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** Docker asks one scope for each mount; far above what any client sends. */
const maxScopes = 100;
/** As `oci/reference.ts` has it (distribution-spec "Pulling manifests"), which this room does not import. */
const repositoryShape = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;

/**
 * `type:name:action,action`. Clients send several `scope` parameters or one with spaces; both are read. What cannot be read
 * is left out, as it could not be granted either.
 */
export function parseScopes(written: string | readonly string[] | undefined): Scope[] {
  const texts = written === undefined ? [] : typeof written === 'string' ? [written] : written;
  const merged = new Map<string, Set<string>>();
  for (const text of texts.flatMap((entry) => entry.split(' ')).slice(0, maxScopes)) {
    const scope = parseScope(text);
    if (scope === undefined) continue;
    const key = `${scope.type}:${scope.name}`;
    merged.set(key, new Set([...(merged.get(key) ?? []), ...scope.actions]));
  }
  return [...merged].map(([key, asked]) => {
    const colon = key.indexOf(':');
    return { type: key.slice(0, colon), name: key.slice(colon + 1), actions: [...asked] };
  });
}

function parseScope(text: string): Scope | undefined {
  if (text.length > 512) return undefined;
  const first = text.indexOf(':');
  const last = text.lastIndexOf(':');
  if (first < 1 || last <= first) return undefined;
  // `repository(plugin):…` names a class of repository that makes no difference here.
  const type = text.slice(0, first).replace(/\([a-z0-9]*\)$/, '');
  const name = text.slice(first + 1, last);
  const asked = text.slice(last + 1).split(',');
  if (type === 'repository') {
    if (name.length > 255 || !repositoryShape.test(name)) return undefined;
    const known = asked.filter((action) => action === '*' || isAction(action));
    return known.length === 0 ? undefined : { type, name, actions: known };
  }
  if (type === 'registry' && name === 'catalog' && asked.includes('*')) return { type, name, actions: ['*'] };
  return undefined;
}

export function formatScopes(scopes: readonly Scope[]): string {
  return scopes.map((scope) => `${scope.type}:${scope.name}:${scope.actions.join(',')}`).join(' ');
}

/** Asked ∩ allowed. `*` becomes the actions that are allowed, so that no token says more than its owner could do. */
export function grantScopes(scopes: readonly Scope[], principal: Principal, authorizer: Authorizer): Scope[] {
  return scopes.flatMap((scope) => {
    if (scope.type === 'registry') return [scope];
    const wanted = scope.actions.includes('*')
      ? actions
      : actions.filter((action) => scope.actions.includes(action));
    const granted = wanted.filter((action) => authorizer.may(principal, action, scope.name));
    return granted.length === 0 ? [] : [{ ...scope, actions: granted }];
  });
}

/** The rules, cut down to what a token grants. Both are asked each time: a right that was taken back is gone at once. */
export function withinScopes(authorizer: Authorizer, scopes: readonly Scope[]): Authorizer {
  const granted = new Map(
    scopes
      .filter((scope) => scope.type === 'repository')
      .map((scope) => [scope.name, new Set(scope.actions)]),
  );
  const catalog = scopes.some((scope) => scope.type === 'registry' && scope.name === 'catalog');
  const covers = (action: Action, repository: string): boolean => {
    const allowed = granted.get(repository);
    return allowed !== undefined && (allowed.has(action) || allowed.has('admin'));
  };
  return {
    may: (principal, action, repository) =>
      covers(action, repository) && authorizer.may(principal, action, repository),
    mayList: (principal, repository) =>
      (catalog || covers('pull', repository)) && authorizer.may(principal, 'pull', repository),
  };
}
