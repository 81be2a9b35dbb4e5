import { randomUUID } from 'node:crypto';
import { cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type * as objectStore from '../../core/object-store/object-store.ts';
import type * as errors from '../../oci/errors.ts';
import type { collectBlob } from '../../registry/collect/collect-blob.ts';
import type { reapSession } from '../../registry/collect/reap.ts';
import type { reviewManifest } from '../../registry/collect/review-manifest.ts';
import type * as scrub from '../../registry/collect/scrub.ts';
import type { scrubTagEntry, scrubTags } from '../../registry/collect/scrub-tags.ts';
import type { createStoreContext } from '../../registry/store/create-context.ts';
import type { deleteRepository } from '../../registry/store/delete-repository.ts';
import type { createStoredRegistry } from '../../registry/stored-registry.ts';

const home = resolve(import.meta.dirname, '../..');

/** What the explorer drives, all from one source tree: the checkout, or a copy of it with one rule broken. */
export interface Product {
  readonly createStoredRegistry: typeof createStoredRegistry;
  readonly createStoreContext: typeof createStoreContext;
  readonly collectBlob: typeof collectBlob;
  readonly reviewManifest: typeof reviewManifest;
  readonly reapSession: typeof reapSession;
  readonly deleteRepository: typeof deleteRepository;
  readonly scrub: typeof scrub;
  readonly scrubTags: typeof scrubTags;
  readonly scrubTagEntry: typeof scrubTagEntry;
  readonly objectStore: typeof objectStore;
  readonly errors: typeof errors;
}

export async function loadProduct(root: string = home): Promise<Product> {
  const load = async (path: string): Promise<object> =>
    (await import(/* @vite-ignore */ pathToFileURL(join(root, path)).href)) as object;
  const modules = await Promise.all(
    [
      'registry/stored-registry.ts',
      'registry/store/create-context.ts',
      'registry/collect/collect-blob.ts',
      'registry/collect/review-manifest.ts',
      'registry/collect/reap.ts',
      'registry/store/delete-repository.ts',
      'registry/collect/scrub-tags.ts',
    ].map(load),
  );
  const named = {
    scrub: await load('registry/collect/scrub.ts'),
    objectStore: await load('core/object-store/object-store.ts'),
    errors: await load('oci/errors.ts'),
  };
  return Object.assign({}, ...modules, named) as Product;
}

/** One rule broken on purpose. `find` has to occur exactly once, so that a mutation cannot outlive the code it was written for. */
export interface Mutation {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** Loads a copy of the product in which the mutations are made, and removes the copy. */
export async function loadMutated(mutations: readonly Mutation[]): Promise<Product> {
  const root = join(tmpdir(), `brickyard-mutation-${randomUUID()}`);
  await mkdir(root);
  try {
    for (const room of ['oci', 'core', 'registry']) {
      await cp(join(home, room), join(root, room), { recursive: true });
    }
    await cp(join(home, 'package.json'), join(root, 'package.json'));
    await symlink(join(home, 'node_modules'), join(root, 'node_modules'));
    for (const { file, find, replace } of mutations) {
      const path = join(root, file);
      const text = await readFile(path, 'utf8');
      if (text.split(find).length !== 2) {
        throw new Error(`the mutation of ${file} no longer fits the source: ${find}`);
      }
      await writeFile(
        path,
        text.replace(find, () => replace),
      );
    }
    return await loadProduct(root);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}
