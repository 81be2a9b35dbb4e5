import type { ContentSpool } from '../../../oci/layer/content-spool.ts';
import type { LayerContent, LayerEntry } from '../../../oci/layer/entry.ts';
import { isLfsPointer, lfsPointerReason } from '../../plan/lfs-pointer.ts';
import type { SourceEntry, SourceTree } from '../../plan/source-tree.ts';
import type { AppPart } from './app-parts.ts';
import { appOwner } from './entry-table.ts';
import { symlinkTarget } from './output-entries.ts';
import { refuse } from './path-policy.ts';

/** Files up to this size are held while they are written; larger ones go through the spool. */
const heldBytes = 256 * 1024;

/** The entries of a part's layer, in byte order, each source file read once as its turn comes. Errors: JobFailed for refused targets of links. */
export async function* partEntries(
  { slots }: AppPart,
  { source: tree, spool }: { readonly source: SourceTree; readonly spool: ContentSpool },
): AsyncGenerator<LayerEntry, void, undefined> {
  const wanted = slots.flatMap((slot) => (slot.source === undefined ? [] : [slot.source]));
  const contents = tree.read(wanted)[Symbol.asyncIterator]();
  try {
    for (const { path, ready, source } of slots) {
      if (ready !== undefined) yield ready;
      if (source === undefined) continue;
      const next = await contents.next();
      if (next.done === true) throw new Error('the source ended early');
      yield await toLayerEntry(source, path, next.value, spool);
    }
  } finally {
    await contents.return?.();
  }
}

async function toLayerEntry(
  source: SourceEntry,
  path: string,
  content: { readonly entry: SourceEntry; readonly size: number; readonly body: AsyncIterable<Uint8Array> },
  spool: ContentSpool,
): Promise<LayerEntry> {
  if (content.entry.path !== source.path)
    throw new Error('the source gave another file than the one asked for');
  if (source.kind === 'symlink') {
    if (content.size > 4095) throw refuse(source.path, 'its target is longer than 4,095 bytes');
    const target = symlinkTarget(source.path, (await hold(content.body)).toString('latin1'));
    return { type: 'symlink', path, target, ...appOwner };
  }
  const mode = source.kind === 'executable' ? 0o755 : 0o644;
  const held: Buffer | LayerContent =
    content.size <= heldBytes ? await hold(content.body) : await spool.add(content.body);
  if (Buffer.isBuffer(held) && isLfsPointer(held)) throw refuse(source.path, lfsPointerReason);
  return { type: 'file', path, mode, ...appOwner, content: held };
}

async function hold(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return parts.length === 1 && parts[0] instanceof Buffer ? parts[0] : Buffer.concat(parts);
}
