/** What somebody may do in a repository. `admin` includes all others. */
export type Action = 'pull' | 'push' | 'delete' | 'build' | 'admin';

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
}

/** Open mode: everybody may do everything. Only ever used on loopback, or with --insecure-open. */
export const openAuthorizer: Authorizer = { may: () => true };
