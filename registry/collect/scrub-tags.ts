import type { StoreContext } from '../store/context.ts';
import { finishTags } from '../store/delete-manifest.ts';
import { inParallel } from '../store/in-parallel.ts';
import { isReadable, readManifestRecord } from '../store/manifest-record.ts';
import { parseTagOfKey, tagOfKey } from '../store/paths.ts';
import { fenceTag, readTag } from '../store/tags.ts';
import { walkRepository } from './walk.ts';

export interface ScrubTagsOutcome {
  /** Tags whose manifest was deleted by somebody who did not come to its tags. */
  readonly ended: number;
  /** Reverse entries of versions that their tag does not have. */
  readonly dropped: number;
}

/** Tags and their reverse entries of one repository. Errors: ObjectStoreUnavailable. */
export async function scrubTags(
  context: StoreContext,
  repository: string,
  options: { readonly dryRun?: boolean } = {},
): Promise<ScrubTagsOutcome> {
  let ended = 0;
  let dropped = 0;
  let batch: string[] = [];
  const flush = async (): Promise<void> => {
    const outcomes = await inParallel(batch, (key) => scrubTagEntry(context, repository, key, options));
    ended += outcomes.filter((outcome) => outcome === 'ended').length;
    dropped += outcomes.filter((outcome) => outcome === 'dropped').length;
    batch = [];
  };
  for await (const { key } of walkRepository(context, repository, '_tagsof')) {
    batch.push(key);
    if (batch.length === 1000) await flush();
  }
  await flush();
  return { ended, dropped };
}

/** `key`: what follows `_tagsof/`. Errors: ObjectStoreUnavailable. */
export async function scrubTagEntry(
  context: StoreContext,
  repository: string,
  key: string,
  { dryRun = false }: { readonly dryRun?: boolean } = {},
): Promise<'kept' | 'ended' | 'dropped'> {
  const entry = parseTagOfKey(key);
  if (entry === undefined) return 'kept';
  const { digest, tag: name, nonce } = entry;
  const tag = await readTag(context, repository, name);
  if (tag.header?.nonce === nonce) {
    const record = await readManifestRecord(context, repository, digest, { headerOnly: true });
    if (isReadable(record)) return 'kept';
    if (!dryRun) await finishTags(context, repository, digest);
    return 'ended';
  }
  if (dryRun) return 'dropped';
  // The entry is written before its tag, so its tag may be on its way. Whoever is about to write it read the tag before he wrote
  // the entry, and has to read it again once the tag has changed.
  if (!(await fenceTag(context, repository, name, tag))) return 'kept';
  await context.store.delete(tagOfKey(repository, digest, name, nonce));
  return 'dropped';
}
