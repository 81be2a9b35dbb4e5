import { createBaseResolver } from '../builder/farm/resolve-base.ts';
import { UserError } from '../core/user-error.ts';
import { createRegistryClient, type RegistryClient } from '../oci/client.ts';
import { isOciError } from '../oci/errors.ts';
import { type ImageReference, parseImageReference } from '../oci/reference.ts';
import type { ExplainDeps } from './commands/explain.ts';
import type { CliContext } from './context.ts';
import { findCredential, serverUrl } from './credentials.ts';

/** Opens the registry of the server that the command talks to, signed in where `brickyard login` was; ends its connections afterwards. */
export async function withServerRegistry<T>(
  context: CliContext,
  server: string | undefined,
  use: (registry: RegistryClient, url: string) => Promise<T>,
): Promise<T> {
  const { registry, url } = await openServerRegistry(context, server);
  try {
    return await use(registry, url);
  } catch (error) {
    throw explain(error, url);
  } finally {
    registry.close();
  }
}

/** The base images of the server that the command talks to, for `explain`. */
export async function openServerBases(
  context: CliContext,
  server: string | undefined,
): ReturnType<ExplainDeps['openBases']> {
  const { registry, url } = await openServerRegistry(context, server);
  const resolveBase = createBaseResolver(registry);
  return {
    async resolveBase(name) {
      try {
        return await resolveBase(name);
      } catch (error) {
        throw explain(error, url);
      }
    },
    pullAddress: (base) => `${new URL(url).host}/${base.repository}`,
    async close() {
      registry.close();
    },
  };
}

/** `team/app`, `team/app:tag`, `team/app@sha256:…`, with or without the server's own host in front. Errors: UserError, also for another host's. */
export function parseServerReference(
  context: Pick<CliContext, 'env'>,
  text: string,
  server: string | undefined,
): ImageReference {
  const reference = parseImageReference(text);
  if (reference === undefined) {
    throw new UserError(`"${text}" is no image reference, such as team/app:main`, { exitCode: 2 });
  }
  const url = new URL(serverUrl(context, server));
  const { host } = reference;
  // What is said of another registry must not be done to a repository of the same name here.
  if (host !== undefined && new URL(`${url.protocol}//${host}`).host !== url.host) {
    throw new UserError(
      `"${text}" is at ${host}, and this talks to ${url.host}: say --server ${host}, or ${url.host}/${text} for a repository of that name`,
      { exitCode: 2 },
    );
  }
  return reference;
}

async function openServerRegistry(
  context: CliContext,
  server: string | undefined,
): Promise<{ registry: RegistryClient; url: string }> {
  const url = serverUrl(context, server);
  const credentials = await findCredential(context, url);
  const registry = createRegistryClient({
    url,
    ...(credentials === undefined
      ? {}
      : { credentials: { username: credentials.user, password: credentials.password } }),
  });
  return { registry, url };
}

function explain(error: unknown, url: string): unknown {
  if (isOciError(error, 'UNAUTHORIZED'))
    return new UserError(`${url} wants you to sign in: brickyard login ${url}`, { cause: error });
  if (isOciError(error, 'DENIED'))
    return new UserError('you may not do this there (brickyard can-i says why)', { cause: error });
  if (isOciError(error, 'UNAVAILABLE'))
    return new UserError(`cannot reach ${url}; is the server running? (brickyard serve)`, { cause: error });
  if (isOciError(error, 'NAME_UNKNOWN'))
    return new UserError('there is no such repository (brickyard images ls lists them)', { cause: error });
  if (isOciError(error, 'MANIFEST_UNKNOWN'))
    return new UserError('there is no such image (brickyard images tags REPOSITORY lists the tags)', {
      cause: error,
    });
  if (isOciError(error)) return new UserError(`${url}: ${error.message}`, { cause: error });
  return error;
}
