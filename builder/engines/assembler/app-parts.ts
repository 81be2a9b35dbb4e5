import { createHash } from 'node:crypto';
import type { LayerEntry } from '../../../oci/layer/entry.ts';
import { type LayerPart, layerPart, layerParts } from '../../plan/layer-part.ts';
import type { SourceEntry } from '../../plan/source-tree.ts';
import { appDirectories, appOwner, createEntryTable, parentsOf } from './entry-table.ts';
import { cleanPath } from './path-policy.ts';

export interface AppFiles {
  readonly appname: string;
  /** `/home/<appname>`. */
  readonly directory: string;
  /** Files that we make ourselves (`/etc/appimg/…`): the only ones outside of `directory`. */
  readonly generated: readonly LayerEntry[];
  /** Absolute; made where nothing of the app's is in the way. */
  readonly directories: readonly string[];
  /** What build commands left; wins over a source file of the same path. */
  readonly outputs: readonly LayerEntry[];
  readonly selected: readonly SourceEntry[];
}

/** `system`: outputs outside of the app's directory, which only an image has that is never rebased. */
export type AppPartName = LayerPart | 'system';

/** What becomes one layer. */
export interface AppPart {
  readonly part: AppPartName;
  /** In byte order of their paths. */
  readonly slots: readonly Slot[];
}

/** An entry, known before any file of the source is read: either finished, or to be read. */
export interface Slot {
  readonly path: string;
  readonly directory: boolean;
  readonly ready?: LayerEntry;
  readonly source?: SourceEntry;
}

/**
 * All files of an app, checked as one tree and then parted; 'app' is always there, the others where they hold something. A directory
 * stands in each layer that has something below it, always with the same owner and mode. Errors: JobFailed for refused paths.
 */
export function appParts(files: AppFiles): readonly AppPart[] {
  const below = files.directory.slice(1);
  const found = new Map<AppPartName, Slot[]>((['system', ...layerParts] as const).map((part) => [part, []]));
  const generated = new Set(files.generated.map(({ path }) => path));
  for (const slot of leaves(arrange(files))) {
    const inside = slot.path.startsWith(`${below}/`) ? slot.path.slice(below.length + 1) : undefined;
    // An empty directory belongs where files in it would.
    if (inside !== undefined) {
      found.get(layerPart(slot.directory ? `${inside}/` : inside, files.appname))?.push(slot);
    } else found.get(slot.directory || generated.has(slot.path) ? 'app' : 'system')?.push(slot);
  }
  return [...found]
    .filter(([part, slots]) => part === 'app' || slots.length > 0)
    .map(([part, slots]) => ({
      part,
      slots: part === 'system' ? slots : withDirectories(slots, files.directory),
    }));
}

/** Everything that a part's bytes depend on, one line an entry: contents by their hashes or by their git object ids. */
export function* describePart({ part, slots }: AppPart): Generator<string, void, undefined> {
  yield `${part}\n`;
  for (const { path, ready, source } of slots) {
    const facts =
      source === undefined
        ? readyFacts(ready)
        : ['source', source.kind, source.id, appOwner.uid, appOwner.gid];
    yield `${JSON.stringify([path, ...facts])}\n`;
  }
}

function arrange(files: AppFiles): readonly Slot[] {
  const table = createEntryTable<Slot>();
  const below = files.directory.slice(1);
  for (const ready of files.generated) table.add(toSlot(ready));
  for (const ready of files.outputs) table.add(toSlot(ready));
  const outputPaths = new Set(files.outputs.map((entry) => entry.path));
  for (const source of files.selected) {
    const path = `${below}/${cleanPath(source.path)}`;
    if (outputPaths.has(path)) continue;
    table.add({ path, directory: false, source });
  }
  for (const directory of files.directories) {
    const path = directory.slice(1);
    const inTheWay = [path, ...parentsOf(path)].some((each) => table.get(each)?.directory === false);
    if (!inTheWay) table.add(toSlot({ type: 'directory', path, mode: 0o755, ...appOwner }));
  }
  return table.sorted();
}

/** Without the directories that hold something: each part makes those again that it needs. */
function leaves(sorted: readonly Slot[]): readonly Slot[] {
  const parents = new Set<string>();
  for (const { path } of sorted) {
    for (const parent of parentsOf(path)) {
      if (parents.has(parent)) break;
      parents.add(parent);
    }
  }
  return sorted.filter(({ path, directory }) => !directory || !parents.has(path));
}

function withDirectories(slots: readonly Slot[], directory: string): readonly Slot[] {
  const table = createEntryTable<Slot>();
  for (const slot of slots) table.add(slot);
  const own = slots.map((slot) => slot.path).filter((path) => path.startsWith(`${directory.slice(1)}/`));
  for (const parent of appDirectories(own, directory)) table.add(toSlot(parent));
  return table.sorted();
}

function toSlot(ready: LayerEntry): Slot {
  return { path: ready.path, directory: ready.type === 'directory', ready };
}

function readyFacts(ready: LayerEntry | undefined): readonly (string | number)[] {
  if (ready === undefined) return [];
  const { type, uid, gid } = ready;
  if (ready.type === 'symlink') return [type, uid, gid, ready.target];
  if (ready.type !== 'file') return [type, uid, gid, ready.mode];
  const { content } = ready;
  const sha256 =
    content instanceof Uint8Array ? createHash('sha256').update(content).digest() : content.sha256;
  return [type, uid, gid, ready.mode, Buffer.from(sha256).toString('hex')];
}
