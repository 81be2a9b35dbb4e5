import type { StoreContext } from './context.ts';
import { catalogKey, repositoryPrefix } from './paths.ts';
import { buryRecord, type RecordHeader, readRecord, replaceRecord, tombstoneSize } from './record.ts';

/**
 * repository → leaving (somebody believes it to be empty and looks once more) → tombstone, or repository again by anybody who
 * pushes. Listed in both states.
 */
interface RepositoryHeader extends RecordHeader {
  readonly state: 'repository' | 'leaving';
  /** Milliseconds since the epoch. */
  readonly created: number;
}

export async function isKnownRepository(context: StoreContext, repository: string): Promise<boolean> {
  const record = await readRecord<RepositoryHeader>(context, catalogKey(repository));
  return record.header !== undefined;
}

/**
 * Lists the repository from now on. Repeating it costs one read. Comes after the commit of what is in it: `removeRepository`
 * writes first and then looks for that, so one of the two sees the other.
 */
export async function addRepository(context: StoreContext, repository: string): Promise<void> {
  for (;;) {
    const record = await readRecord<RepositoryHeader>(context, catalogKey(repository));
    if (record.header?.state === 'repository') return;
    const created = record.header?.created ?? context.clock();
    const header = { state: 'repository', created } as const;
    if (
      (await replaceRecord<RepositoryHeader>(context, catalogKey(repository), record, header)) !== undefined
    )
      return;
  }
}

/**
 * Takes a repository without manifests off the list. False: it has one, or somebody pushes to it at this moment.
 * Errors: ObjectStoreUnavailable.
 */
export async function removeRepository(context: StoreContext, repository: string): Promise<boolean> {
  const key = catalogKey(repository);
  const record = await readRecord<RepositoryHeader>(context, key);
  if (record.header === undefined) return !(await hasManifests(context, repository));
  const { created } = record.header;
  const leaving = await replaceRecord<RepositoryHeader>(context, key, record, { state: 'leaving', created });
  if (leaving === undefined) return false;
  if (!(await hasManifests(context, repository))) return buryRecord(context, key, leaving);
  // Lost: whoever pushed did the same.
  await replaceRecord<RepositoryHeader>(context, key, leaving, { state: 'repository', created });
  return false;
}

/** Also those that are being pushed. */
export async function hasManifests(context: StoreContext, repository: string): Promise<boolean> {
  const prefix = repositoryPrefix(repository, '_manifests');
  let startAfter: string | undefined;
  do {
    const page = await context.store.list({ prefix, ...(startAfter === undefined ? {} : { startAfter }) });
    if (page.objects.some(({ size }) => size !== tombstoneSize)) return true;
    startAfter = page.next;
  } while (startAfter !== undefined);
  return false;
}
