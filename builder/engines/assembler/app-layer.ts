import { JobFailed } from '../../../core/queue/job-queue.ts';
import type { ContentSpool } from '../../../oci/layer/content-spool.ts';
import type { LayerContent, LayerEntry } from '../../../oci/layer/entry.ts';
import type { SourceEntry, SourceTree } from '../../plan/source-tree.ts';
import { appDirectories, appOwner, createEntryTable } from './entry-table.ts';
import { symlinkTarget } from './output-entries.ts';
import { cleanPath, isAbove, refuse } from './path-policy.ts';

/** Files up to this size are held while they are written; larger ones go through the spool. */
const heldBytes = 256 * 1024;

export interface AppLayerInput {
  /** `/home/<appname>`. */
  readonly directory: string;
  /** Files that we make ourselves (`/etc/appimg/…`): the only ones outside of `directory`. */
  readonly generated: readonly LayerEntry[];
  /** What build commands left; wins over a source file of the same path. */
  readonly outputs: readonly LayerEntry[];
  readonly source: SourceTree;
  readonly selected: readonly SourceEntry[];
  readonly spool: ContentSpool;
}

/** Known before any file is read: either finished, or to be read from the source. */
interface Slot {
  readonly path: string;
  readonly directory: boolean;
  readonly ready?: LayerEntry;
  readonly source?: SourceEntry;
}

/** The app's layer, in byte order, each source file read once as its turn comes. Errors: JobFailed for refused paths. */
export async function* appLayer(input: AppLayerInput): AsyncGenerator<LayerEntry, void, undefined> {
  const slots = arrange(input);
  const wanted = slots.flatMap((slot) => (slot.source === undefined ? [] : [slot.source]));
  const contents = input.source.read(wanted)[Symbol.asyncIterator]();
  try {
    for (const slot of slots) {
      if (slot.ready !== undefined) yield slot.ready;
      if (slot.source === undefined) continue;
      const next = await contents.next();
      if (next.done === true) throw new Error('the source ended early');
      yield await toLayerEntry(slot.source, slot.path, next.value, input.spool);
    }
  } finally {
    await contents.return?.();
  }
}

function arrange(input: AppLayerInput): readonly Slot[] {
  const table = createEntryTable<Slot>();
  const below = input.directory.slice(1);
  for (const ready of input.generated) table.add(toSlot(ready));
  for (const ready of input.outputs) table.add(toSlot(ready));
  const outputPaths = new Set(input.outputs.map((entry) => entry.path));
  for (const source of input.selected) {
    const path = `${below}/${cleanPath(source.path)}`;
    if (outputPaths.has(path)) continue;
    // Git checks a submodule out as an empty directory when it is not asked to fetch it; we never fetch.
    if (source.kind === 'submodule') {
      table.add(toSlot({ type: 'directory', path, mode: 0o755, ...appOwner }));
    } else table.add({ path, directory: false, source });
  }
  const paths = table.sorted().map((slot) => slot.path);
  const own = paths.filter((path) => path.startsWith(`${below}/`));
  for (const directory of appDirectories(own, input.directory)) table.add(toSlot(directory));
  return table.sorted();
}

function toSlot(ready: LayerEntry): Slot {
  return { path: ready.path, directory: ready.type === 'directory', ready };
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
  return { type: 'file', path, mode, ...appOwner, content: held };
}

async function hold(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return parts.length === 1 && parts[0] instanceof Buffer ? parts[0] : Buffer.concat(parts);
}

/** Errors: JobFailed when `directory` would cover a part of the base instead of a place of its own. */
export function checkDirectory(directory: string): void {
  const clean = cleanPath(directory);
  if (`/${clean}` !== directory || !directory.startsWith('/home/') || isAbove(clean, '/home')) {
    throw new JobFailed(`an app's files lie below /home, not in ${JSON.stringify(directory)}`);
  }
}
