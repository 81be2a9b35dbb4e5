import { UserError } from '../../core/user-error.ts';
import type { CommitTree } from './git-host.ts';

/** Calls `damaged` before an error comes out that is no fault of the commit: what was pushed is complete, so the copy on this disk is not. `closed` follows the tree's end. */
export function watchTree(
  tree: CommitTree,
  { damaged, closed }: { readonly damaged: () => Promise<void>; readonly closed: () => Promise<void> },
): CommitTree {
  async function report(error: unknown): Promise<never> {
    if (!(error instanceof UserError)) await damaged();
    throw error;
  }
  return {
    key: tree.key,
    commit: tree.commit,
    committedAt: tree.committedAt,
    entries: () => tree.entries().catch(report),
    readFile: (path, limit) => tree.readFile(path, limit).catch(report),
    async *read(entries) {
      const contents = tree.read(entries);
      try {
        yield* contents;
      } catch (error) {
        await report(error);
      }
    },
    async close() {
      await tree.close();
      await closed();
    },
  };
}
