/** One `type:name:action,action` of docker's token protocol, e.g. `repository:team/app:pull,push`. */
export interface Scope {
  /** `repository`, or `registry` for `registry:catalog:*`. */
  readonly type: string;
  readonly name: string;
  /** As asked for, in order, each once; `*` stands for all. */
  readonly actions: readonly string[];
}

/**
 * The `scope` parameters of a token request. Clients send several parameters, or one with spaces in it, or both
 * (the token specification has the first, docker's own code the second), so both are read. What is no scope is left out:
 * a client then gets a token that grants less, never more.
 */
export function parseScopes(parameters: readonly string[]): readonly Scope[] {
  const scopes: Scope[] = [];
  for (const parameter of parameters) {
    for (const text of parameter.split(' ')) {
      const scope = parseScope(text);
      if (scope !== undefined) scopes.push(scope);
      if (scopes.length === maxScopes) return scopes;
    }
  }
  return scopes;
}

/** More than any client needs (a mount asks for two), and little enough to decide on one by one. */
const maxScopes = 100;

/** Undefined when `text` is no scope. A name may hold a colon (`host:5000/team/app`), so the actions are behind the last one. */
export function parseScope(text: string): Scope | undefined {
  const match = /^([a-z0-9]+(?:\([a-z0-9]+\))?):([^\s"\\]+):([a-z0-9*,]*)$/.exec(text);
  if (match === null) return undefined;
  const [, type = '', name = '', actions = ''] = match;
  return { type, name, actions: [...new Set(actions.split(',').filter((action) => action !== ''))] };
}

export function formatScope(scope: Scope): string {
  return `${scope.type}:${scope.name}:${scope.actions.join(',')}`;
}
