import { isScalar, isSeq, Pair, Scalar, type YAMLMap, YAMLSeq } from 'yaml';
import { keyText } from '../../../core/document/document-place.ts';
import { appFileSchema } from '../schema.ts';
import { mapHealthcheck } from './map-healthcheck.ts';
import type { Mapping } from './mapping.ts';
import {
  asText,
  type Entry,
  entriesOf,
  entryOf,
  keyAt,
  listUnder,
  mapUnder,
  put,
  rename,
  scalar,
  take,
  valueOf,
} from './tree.ts';

const kept = [
  'exposes',
  'network_mode',
  'network_route',
  'log',
  'log_config',
  'backup_path',
  'run_and_wait_timeout',
];
const keptHooks = ['after_resume', 'before_suspend', 'force'];
const known = Object.keys(appFileSchema.properties.entrypoints.additionalProperties.properties);

/** One role of Eru → one of v1, in its own place. */
export function mapEntrypoint(mapping: Mapping, name: string, role: YAMLMap): void {
  const path = ['entrypoints', name];
  const place = ['roles', name];
  const each = (key: string, map: (entry: Entry) => void): void => {
    const entry = entryOf(role, key);
    if (entry !== undefined) map(entry);
  };
  /** For keys whose entry leaves the role. */
  const moved = (key: string, map: (entry: Entry) => void): void => {
    const entry = take(role, key);
    if (entry !== undefined) map(entry);
  };

  each('publish', (entry) => renameInto(mapping, role, entry, 'ports', path));
  each('working_dir', (entry) => renameInto(mapping, role, entry, 'dir', path));
  each('dir', (entry) => mapDirectory(mapping, entry));
  each('privileged', (entry) => mapPrivileged(mapping, role, entry, path));
  each('mem_limit', (entry) => mapMemory(mapping, role, entry, path));
  mapHealthcheck(mapping, name, role);
  for (const key of ['after_start', 'before_stop'])
    moved(key, (entry) => mapHook(mapping, role, entry, path));
  const hook = entryOf(role, 'hook')?.value;
  if (isMapNode(hook)) {
    for (const key of keptHooks) {
      const entry = take(hook, key);
      if (entry !== undefined) mapping.keep([...path, 'hook', key], entry, [...place, 'hook']);
    }
    if (hook.items.length === 0) take(role, 'hook');
  }
  moved('hosts', (entry) => {
    mapping.note([...path, 'hosts'], 'became extra_hosts, which all roles share');
    appendTo(mapping, mapping.top, 'extra_hosts', entry, [...path, 'hosts']);
  });
  moved('permdir', (entry) => mapPermdir(mapping, role, entry, path));
  moved('image', () =>
    mapping.refuse([...path, 'image'], 'a role cannot have an image of its own', 'give it its own App.yaml'),
  );
  moved('sysctls', () =>
    mapping.refuse(
      [...path, 'sysctls'],
      'an image cannot set sysctls',
      'set them where the container is started',
    ),
  );
  for (const key of kept) moved(key, (entry) => mapping.keep([...path, key], entry, place));
  for (const key of unknownKeys(role, known)) {
    mapping.warnUnknown([...path, key], key, known);
    moved(key, (entry) => mapping.keep([...path, key], entry, place));
  }
}

/** Eru accepted any key: none of these may vanish, and none may stop a file that was fine. */
export function unknownKeys(map: YAMLMap, names: readonly string[]): string[] {
  return entriesOf(map)
    .map((entry) => keyText(entry.key) ?? '')
    .filter((key) => !names.includes(key));
}

function isMapNode(node: unknown): node is YAMLMap {
  return typeof node === 'object' && node !== null && 'items' in node && !isSeq(node);
}

/** Another name for a key of v1; lists of both names are joined. */
export function renameInto(
  mapping: Mapping,
  map: YAMLMap,
  entry: Entry,
  key: string,
  path: readonly string[],
): void {
  const present = entryOf(map, key);
  if (present === undefined) {
    rename(entry, key);
    return;
  }
  const old = keyText(entry.key) ?? '';
  const both = isSeq(present.value) && isSeq(entry.value);
  if (both) (present.value as YAMLSeq).items.push(...(entry.value as YAMLSeq).items);
  else mapping.refuse([...path, old], `"${old}" and "${key}" mean the same`, `leave one of them out`);
  take(map, old);
}

/** The items of a list to another list, or the one text as its item. */
export function appendTo(
  mapping: Mapping,
  map: YAMLMap,
  key: string,
  entry: Entry,
  path: readonly (string | number)[],
): void {
  const list = listUnder(map, key, entry);
  if (list === undefined) {
    mapping.refuse(path, `"${key}" is there too, and is no list`, `write ${key} as a list`);
    return;
  }
  const items = isSeq(entry.value) ? entry.value.items : [entry.value];
  for (const item of items) {
    const same = isScalar(item) && list.items.some((other) => isScalar(other) && other.value === item.value);
    if (!same) list.items.push(item);
  }
}

/** The code lay in /<appname> until 2017; it lies in /home/<appname> now. */
function mapDirectory(mapping: Mapping, entry: Entry): void {
  const dir = valueOf(entry);
  const old = `/${mapping.appname}`;
  if (typeof dir !== 'string' || (dir !== old && !dir.startsWith(`${old}/`))) return;
  entry.value = scalar(`/home${dir}`, entry.value);
}

function mapPrivileged(mapping: Mapping, role: YAMLMap, entry: Entry, path: readonly string[]): void {
  const value = valueOf(entry);
  const off = [false, null, '', 0, 'false', 'no', '0', 'off'].some((word) => word === value);
  if (!off && entryOf(role, 'user') === undefined) {
    rename(entry, 'user').value = scalar('root', entry.value);
    return;
  }
  mapping.note([...path, 'privileged'], off ? 'left out: it is the default' : 'left out: user says it');
  take(role, 'privileged');
}

function mapMemory(mapping: Mapping, role: YAMLMap, entry: Entry, path: readonly string[]): void {
  const value = valueOf(entry);
  const old = take(role, 'mem_limit') ?? entry;
  if (value === 0 || value === null) {
    mapping.note([...path, 'mem_limit'], 'left out: 0 is no limit');
    return;
  }
  const resources = mapUnder(role, 'resources', old);
  const text =
    typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? memoryText(value) : undefined;
  rename(old, 'memory');
  if (text !== undefined) old.value = scalar(text, old.value);
  if (resources === undefined || !put(resources, old)) {
    mapping.refuse([...path, 'mem_limit'], 'resources.memory is there too', 'leave one of them out');
  }
}

/** Bytes in the largest unit that is exact; more than nine digits of bytes are rounded up to whole kilobytes. */
function memoryText(bytes: number): string {
  for (const [unit, power] of [
    ['GB', 3],
    ['MB', 2],
    ['KB', 1],
  ] as const) {
    if (bytes % 1024 ** power === 0) return `${bytes / 1024 ** power}${unit}`;
  }
  return bytes < 1e9 ? `${bytes}B` : `${Math.ceil(bytes / 1024)}KB`;
}

function mapHook(mapping: Mapping, role: YAMLMap, entry: Entry, path: readonly string[]): void {
  const key = keyText(entry.key) ?? '';
  const hook = mapUnder(role, 'hook', entry);
  if (valueOf(entry) === '' || valueOf(entry) === null) {
    mapping.note([...path, key], 'left out: it is empty');
    if (hook?.items.length === 0) take(role, 'hook');
    return;
  }
  if (!isSeq(entry.value)) {
    const list = new YAMLSeq();
    if (entry.value?.range != null) list.range = entry.value.range;
    list.items.push(entry.value);
    entry.value = list;
  }
  if (hook === undefined || !put(hook, entry)) {
    mapping.refuse([...path, key], `hook.${key} is there too`, 'leave one of them out');
  }
}

/** eru-core mounted the directory at /<appname>/permdir and told the role by a variable. */
function mapPermdir(mapping: Mapping, role: YAMLMap, entry: Entry, path: readonly string[]): void {
  const value = valueOf(entry);
  if (value === false || value === null || value === '' || value === 0) {
    mapping.note([...path, 'permdir'], 'left out: it is the default');
    return;
  }
  const directory = `/home/${mapping.appname}/permdir`;
  const environment = mapUnder(role, 'env', entry);
  if (environment !== undefined && entryOf(environment, 'ERU_PERMDIR') === undefined) {
    environment.items.push(new Pair(keyAt('ERU_PERMDIR', entry), scalar(directory, entry.value)));
  }
  mapping.note([...path, 'permdir'], `became the volume ${directory}, which ERU_PERMDIR names`);
  appendTo(mapping, mapping.top, 'volumes', rename(entry, 'volumes'), [...path, 'permdir']);
  const volumes = entryOf(mapping.top, 'volumes')?.value;
  if (isSeq(volumes)) {
    const added = volumes.items.pop();
    const there = volumes.items.some((item) => isScalar(item) && item.value === directory);
    if (!there) volumes.items.push(scalar(directory, added instanceof Scalar ? added : undefined));
  }
}

/** Values of `envs` and `labels` as the texts that Eru made of them. */
export function textValues(map: unknown): void {
  if (!isMapNode(map)) return;
  for (const entry of entriesOf(map)) entry.value = asText(entry.value);
}
