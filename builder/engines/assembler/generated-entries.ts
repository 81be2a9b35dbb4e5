import { JobFailed } from '../../../core/queue/job-queue.ts';
import type { LayerEntry } from '../../../oci/layer/entry.ts';
import type { ImageContent } from '../../plan/image-content.ts';
import { maxRuntimeScriptBytes } from '../../plan/runtime-script.ts';
import type { SourceTree } from '../../plan/source-tree.ts';

/** The files beside the app's own, root's: an app cannot change how it is started. Errors: JobFailed when the source lacks one. */
export async function generatedEntries(
  content: ImageContent,
  source: SourceTree,
): Promise<readonly LayerEntry[]> {
  const entries: LayerEntry[] = content.files.map(({ path, mode, uid, gid, content: text }) => ({
    type: 'file',
    path: path.slice(1),
    mode,
    uid,
    gid,
    content: Buffer.from(text),
  }));
  for (const { path, mode, uid, gid, source: from } of content.copies) {
    const bytes = await source.readFile(from, maxRuntimeScriptBytes);
    if (bytes === undefined) throw new JobFailed(`${from} is not a file of the source`);
    entries.push({ type: 'file', path: path.slice(1), mode, uid, gid, content: bytes });
  }
  return entries;
}
