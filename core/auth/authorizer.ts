/** What somebody may do in a repository. `admin` includes all others. */
export type Action = 'pull' | 'push' | 'delete' | 'build' | 'admin';

export const actions: readonly Action[] = ['pull', 'push', 'delete', 'build', 'admin'];

/** Who asks. */
export interface Principal {
  /** Unique; `anonymous` for nobody in particular. */
  readonly name: string;
  readonly anonymous: boolean;
}

export const anonymous: Principal = { name: 'anonymous', anonymous: true };

/** The one place where rights are decided: the registry, git and the management API all ask here. */
export interface Authorizer {
  /** `repository` is a full name, e.g. `team/app`; `*` asks for the whole server. */
  may(principal: Principal, action: Action, repository: string): boolean;
  /**
   * May the repository appear in a listing? Undefined = whoever may pull it. Differs for a token that was issued for the
   * catalog alone (`registry:catalog:*`): it lists what its owner may pull, and reads nothing. Ask through `mayList`.
   */
  mayList?(principal: Principal, repository: string): boolean;
}

/** Open mode: everybody may do everything. Only ever used on loopback, or with --insecure-open. */
export const openAuthorizer: Authorizer = { may: () => true };

/** The question to filter a catalog with. */
export function mayList(authorizer: Authorizer, principal: Principal, repository: string): boolean {
  return authorizer.mayList === undefined
    ? authorizer.may(principal, 'pull', repository)
    : authorizer.mayList(principal, repository);
}
