import { isMap, isScalar, isSeq, type Node, Pair, YAMLSeq } from 'yaml';
import { keyText } from '../../../core/document/document-place.ts';
import type { Mapping } from './mapping.ts';
import { type Entry, entriesOf, entryOf, keyAt, scalar, take } from './tree.ts';

/**
 * `volumes` with a host side, `binds` and `mount_paths` → paths in the container; which host directory lies there is the
 * scheduler's business, so the originals are kept for it.
 */
export function mapVolumes(mapping: Mapping): void {
  const { top } = mapping;
  const paths: { path: string; origin: Node }[] = [];
  const volumes = entryOf(top, 'volumes');
  const binds = take(top, 'binds');
  const mounts = take(top, 'mount_paths');
  const items = isSeq(volumes?.value) ? (volumes.value.items as Node[]) : [];
  const hostSides = items.some((item) => isScalar(item) && String(item.value).includes(':'));
  const originals = hostSides && isSeq(volumes?.value) ? (volumes.value.clone() as YAMLSeq) : undefined;
  for (const [index, item] of items.entries()) {
    const written = isScalar(item) ? item.value : undefined;
    if (typeof written !== 'string' || !written.includes(':')) continue;
    const inside = containerPath(mapping, written.split(':')[1] ?? '');
    if (isSystem(inside)) mapping.note(['volumes', index], systemNote(inside));
    else paths.push({ path: inside, origin: item });
  }
  if (isMap(binds?.value)) {
    for (const bind of entriesOf(binds.value)) {
      const path = ['binds', keyText(bind.key) ?? ''];
      const side = isMap(bind.value) ? entryOf(bind.value, 'bind')?.value : bind.value;
      if (!isScalar(side) || typeof side.value !== 'string') {
        mapping.refuse(path, 'a bind needs its path in the container', 'write { bind: /path, ro: false }');
        continue;
      }
      const inside = containerPath(mapping, side.value);
      if (isSystem(inside)) mapping.note(path, systemNote(inside));
      else paths.push({ path: inside, origin: side });
    }
  } else if (binds !== undefined) mapping.refuse(['binds'], 'must be a map', 'write /host: { bind: /path }');
  if (isSeq(mounts?.value)) {
    for (const item of mounts.value.items) {
      if (isScalar(item)) paths.push({ path: containerPath(mapping, String(item.value)), origin: item });
    }
  } else if (mounts !== undefined) mapping.refuse(['mount_paths'], 'must be a list', 'write [/path]');

  if (volumes !== undefined && isSeq(volumes.value)) {
    volumes.value.items = items.filter((item) => !isScalar(item) || !String(item.value).includes(':'));
    for (const item of volumes.value.items) {
      if (isScalar(item) && typeof item.value === 'string') item.value = containerPath(mapping, item.value);
    }
  }
  addPaths(mapping, volumes ?? binds ?? mounts, paths);
  if (originals !== undefined && volumes !== undefined) {
    const entry = new Pair(keyAt('volumes', volumes), originals) as unknown as Entry;
    for (const item of originals.items) if (isScalar(item)) delete item.comment;
    mapping.keep(['volumes'], entry);
  }
  if (isMap(binds?.value)) mapping.keep(['binds'], binds);
  if (isSeq(mounts?.value)) mapping.keep(['mount_paths'], mounts);
}

function addPaths(
  mapping: Mapping,
  origin: Entry | undefined,
  paths: readonly { path: string; origin: Node }[],
): void {
  if (origin === undefined) return;
  const { top } = mapping;
  let list = entryOf(top, 'volumes')?.value;
  if (list === undefined && paths.length > 0) {
    list = new YAMLSeq();
    if (origin.key.range != null) list.range = origin.key.range;
    top.items.push(new Pair(keyAt('volumes', origin), list));
  }
  if (!isSeq(list)) return;
  for (const { path, origin: place } of paths) {
    const there = list.items.some((item) => isScalar(item) && item.value === path);
    if (!there) list.items.push(scalar(path, place));
  }
  if (list.items.length === 0) take(top, 'volumes');
}

function containerPath(mapping: Mapping, path: string): string {
  const { appname } = mapping;
  const written = path.trim().replace(/^\$(?:APPDIR|\{APPDIR\})(?=\/|$)/, `/home/${appname}`);
  return written === `/${appname}` || written.startsWith(`/${appname}/`) ? `/home${written}` : written;
}

function isSystem(path: string): boolean {
  return /^\/(?:proc|sys|dev|etc|usr|bin|sbin|lib|lib64|boot)(?:\/|$)/.test(path);
}

function systemNote(path: string): string {
  return `${path} is the system’s own and no volume of the image; the scheduler can still mount it`;
}
