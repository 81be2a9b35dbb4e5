import type { StoreContext } from './context.ts';
import { catalogKey } from './paths.ts';
import { type RecordHeader, readRecord, replaceRecord } from './record.ts';

interface RepositoryHeader extends RecordHeader {
  readonly state: 'repository';
  /** Milliseconds since the epoch. */
  readonly created: number;
}

export async function isKnownRepository(context: StoreContext, repository: string): Promise<boolean> {
  const record = await readRecord<RepositoryHeader>(context, catalogKey(repository));
  return record.header !== undefined;
}

/** Lists the repository from now on. Repeating it costs one read. */
export async function addRepository(context: StoreContext, repository: string): Promise<void> {
  for (;;) {
    const record = await readRecord<RepositoryHeader>(context, catalogKey(repository));
    if (record.header !== undefined) return;
    const header = { state: 'repository', created: context.clock() } as const;
    if (
      (await replaceRecord<RepositoryHeader>(context, catalogKey(repository), record, header)) !== undefined
    )
      return;
  }
}
