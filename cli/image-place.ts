import { UserError } from '../core/user-error.ts';
import { createRegistryClient, type RegistryClient } from '../oci/client.ts';
import type { Digest } from '../oci/digest.ts';
import { parseImageReference } from '../oci/reference.ts';
import type { CliContext } from './context.ts';
import { findCredential, serverUrl } from './credentials.ts';
import { findDockerCredential } from './docker-credentials.ts';

/** An image of any registry, as a person writes it. */
export interface ImagePlace {
  /** Origin of the registry. */
  readonly url: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

const dockerHub = {
  names: ['docker.io', 'index.docker.io', 'registry-1.docker.io'],
  url: 'https://registry-1.docker.io',
  /** What docker's config.json calls it. */
  credentialHosts: ['index.docker.io', 'docker.io'],
  tokenHost: 'auth.docker.io',
};

/**
 * `[host[:port]/]repository[:tag][@digest]`; without a host it is the server that commands talk to. `https://` or `http://` in front of the
 * host decides how to speak to it; else that is https, and http on this machine. Errors: UserError.
 */
export function parseImagePlace(
  context: Pick<CliContext, 'env'>,
  text: string,
  server: string | undefined,
): ImagePlace {
  const [, scheme, rest = ''] = /^(https?:\/\/)?(.*)$/is.exec(text) ?? [];
  const slash = rest.indexOf('/');
  const written = scheme === undefined ? rest : rest.slice(slash + 1);
  const reference = parseImageReference(written);
  const misplaced = scheme !== undefined && (slash <= 0 || reference?.host !== undefined);
  if (reference === undefined || misplaced) {
    throw new UserError(
      `"${text}" is no image, such as team/app:main or registry.example.com/team/app:main`,
      {
        exitCode: 2,
      },
    );
  }
  const { host, tag, digest } = reference;
  const onHub = scheme === undefined && host !== undefined && dockerHub.names.includes(host);
  const address = scheme === undefined ? host : `${scheme}${rest.slice(0, slash)}`;
  return {
    url: onHub ? dockerHub.url : serverUrl(context, address ?? server),
    // docker.io/nginx is short for docker.io/library/nginx.
    repository:
      onHub && !reference.repository.includes('/') ? `library/${reference.repository}` : reference.repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** `registry.example.com/team/app`, as docker writes it. */
export function formatPlace(
  place: { readonly url: string; readonly repository: string },
  reference = '',
): string {
  return `${new URL(place.url).host}/${place.repository}${reference}`;
}

export interface OpenRegistryOptions {
  /** Further hosts whose token service may see the password. */
  readonly tokenHosts?: readonly string[];
}

/** Signed in with what `brickyard login` or docker's own login keeps for it. The caller closes it. Errors: UserError. */
export async function openRegistryAt(
  context: Pick<CliContext, 'env' | 'stderr'>,
  url: string,
  options: OpenRegistryOptions = {},
): Promise<RegistryClient> {
  const onHub = url === dockerHub.url;
  const hosts = onHub ? dockerHub.credentialHosts : [new URL(url).host];
  let credential = await findCredential(context, url);
  for (const host of hosts) credential ??= await findDockerCredential(context, host);
  const tokenHosts = [...(options.tokenHosts ?? []), ...(onHub ? [dockerHub.tokenHost] : [])];
  return createRegistryClient({
    url,
    ...(credential === undefined
      ? {}
      : { credentials: { username: credential.user, password: credential.password, tokenHosts } }),
  });
}
