import type { Identity } from '../../core/auth/authenticator.ts';
import { type Action, mayList, openAuthorizer } from '../../core/auth/authorizer.ts';
import { OciError } from '../../oci/errors.ts';
import type { Page, PageOptions, Registry } from '../../oci/registry.ts';

/** How many names are read at once while a page of readable repositories is filled. */
const listBatch = 1000;

/**
 * One request's view of the registry: pull to read, push to write, delete to delete. What may not be read is refused before
 * anything is looked up, so the answer tells nothing of what is there.
 * Errors: UNAUTHORIZED (nobody in particular asks: log in), DENIED.
 */
export function authorized(registry: Registry, identity: Identity): Registry {
  const { principal, authorizer } = identity;
  const may = (action: Action, repository: string): boolean => authorizer.may(principal, action, repository);
  const owner = principal.anonymous ? {} : { owner: principal.name };

  function demand(action: Action, repository: string): void {
    if (may(action, repository)) return;
    throw new OciError(principal.anonymous ? 'UNAUTHORIZED' : 'DENIED', { detail: { repository, action } });
  }
  /** `method`, once the right is there. */
  function needs<A extends unknown[], R>(
    action: Action,
    method: (repository: string, ...args: A) => Promise<R>,
  ): (repository: string, ...args: A) => Promise<R> {
    return async (repository, ...args) => {
      demand(action, repository);
      return method(repository, ...args);
    };
  }

  const locateBlob = registry.locateBlob?.bind(registry);
  return {
    getBlob: needs('pull', (...args) => registry.getBlob(...args)),
    ...(locateBlob === undefined ? {} : { locateBlob: needs('pull', locateBlob) }),
    resolveBlob: needs('pull', (...args) => registry.resolveBlob(...args)),
    getManifest: needs('pull', (...args) => registry.getManifest(...args)),
    resolveManifest: needs('pull', (...args) => registry.resolveManifest(...args)),
    listTags: needs('pull', (...args) => registry.listTags(...args)),
    listReferrers: needs('pull', (...args) => registry.listReferrers(...args)),
    listRepositories: (page) =>
      // Where everybody may see everything, the store's own page is the answer.
      authorizer === openAuthorizer
        ? registry.listRepositories(page)
        : listReadable(registry, page, (repository) => mayList(authorizer, principal, repository)),

    // A session belongs to whom opened it; the caller's own idea of the owner does not count here.
    startUpload: needs('push', (repository, options = {}) =>
      registry.startUpload(repository, { ...withoutOwner(options), ...owner }),
    ),
    uploadStatus: needs('push', (repository, id: string) => registry.uploadStatus(repository, id, owner)),
    writeUpload: needs('push', (repository, id, body, options = {}) =>
      registry.writeUpload(repository, id, body, { ...withoutOwner(options), ...owner }),
    ),
    finishUpload: needs('push', (repository, id, digest, body, options = {}) =>
      registry.finishUpload(repository, id, digest, body, { ...withoutOwner(options), ...owner }),
    ),
    cancelUpload: needs('push', (repository, id: string) => registry.cancelUpload(repository, id, owner)),
    putBlob: needs('push', (...args) => registry.putBlob(...args)),
    mountBlob: needs('push', async (repository, digest, from, mayRead = () => true) => {
      const readable = (source: string): boolean => mayRead(source) && may('pull', source);
      // Refused and not there look the same: a mount must not tell who holds a blob.
      if (from !== undefined && !readable(from)) return false;
      return registry.mountBlob(repository, digest, from, readable);
    }),
    putManifest: needs('push', (...args) => registry.putManifest(...args)),

    deleteBlob: needs('delete', (...args) => registry.deleteBlob(...args)),
    deleteManifest: needs('delete', (...args) => registry.deleteManifest(...args)),
    deleteTag: needs('delete', (...args) => registry.deleteTag(...args)),
  };
}

/** Reads on until the page is full of repositories that the caller may see, and says nothing of the others. */
async function listReadable(
  registry: Registry,
  { limit, last }: PageOptions,
  readable: (repository: string) => boolean,
): Promise<Page<string>> {
  const entries: string[] = [];
  if (limit <= 0) return { entries };
  let after = last;
  // Where everything is readable the first read fills the page; only what is skipped makes the next one large.
  for (let batch = Math.min(limit + 1, listBatch); ; batch = listBatch) {
    const page = await registry.listRepositories({
      limit: batch,
      ...(after === undefined ? {} : { last: after }),
    });
    for (const repository of page.entries) {
      if (!readable(repository)) continue;
      if (entries.length === limit) return { entries, next: entries.at(-1) as string };
      entries.push(repository);
    }
    if (page.next === undefined) return { entries };
    after = page.next;
  }
}

function withoutOwner<T extends { readonly owner?: string }>(options: T): Omit<T, 'owner'> {
  const { owner: _, ...rest } = options;
  return rest;
}
