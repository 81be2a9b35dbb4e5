export type Provider = 'github' | 'gitlab' | 'gitea' | 'generic';

export const providers: readonly Provider[] = ['github', 'gitlab', 'gitea', 'generic'];

/** Which repository elsewhere becomes which application here. From the configuration alone: no delivery changes anything of it. */
export interface Trigger {
  readonly team: string;
  readonly app: string;
  readonly provider: Provider;
  readonly remote: TriggerRemote;
  /** One or two: the old one stays good while senders learn the new one. */
  readonly secrets: readonly string[];
  /** Globs over the names behind `refs/heads/`; none = no branch. */
  readonly branches: readonly string[];
  /** Over those behind `refs/tags/`. */
  readonly tags: readonly string[];
  /** What becomes of pull requests from forks: nothing, or a build that may touch nothing. */
  readonly forks: 'never' | 'build';
  readonly status?: TriggerStatus;
}

/** Where a trigger's repository is, and how it is fetched. */
export interface TriggerRemote {
  /** `https://`, `http://` or `ssh://`, as `parseRemoteUrl` took it. */
  readonly url: string;
  /** Its host may have an address that is not public. */
  readonly privateNetwork: boolean;
  readonly login?: { readonly username: string; readonly token: string };
  readonly ssh?: { readonly keyFile: string; readonly knownHostsFile: string };
  /** PEM file: who signs the server's certificate. */
  readonly caFile?: string;
}

/** Where commits are told how their build goes. */
export interface TriggerStatus {
  /** Base address of the provider's API, without a slash at its end: `https://api.github.com`. */
  readonly api: string;
  readonly token: string;
  /** Under which name, e.g. `brickyard`. */
  readonly context: string;
  /** Certificates (PEM) that may have signed the API's. */
  readonly ca?: string;
}

/** The git repository here. */
export function repositoryOfTrigger({ team, app }: Pick<Trigger, 'team' | 'app'>): string {
  return `${team}/${app}`;
}
