import { isMap, isScalar, isSeq, type Node, Pair, Scalar, YAMLMap, YAMLSeq } from 'yaml';
import { keyText } from '../../../core/document/document-place.ts';

/** An entry of a map in the tree of a file. */
export type Entry = Pair<Node, Node | null>;

export function entriesOf(map: YAMLMap): Entry[] {
  return map.items as Entry[];
}

export function entryOf(map: YAMLMap, key: string): Entry | undefined {
  return entriesOf(map).find((entry) => keyText(entry.key) === key);
}

/** Takes an entry out of its map. */
export function take(map: YAMLMap, key: string): Entry | undefined {
  const entry = entryOf(map, key);
  if (entry !== undefined) map.items.splice(entriesOf(map).indexOf(entry), 1);
  return entry;
}

/** Gives an entry another key; place and comments stay. */
export function rename(entry: Entry, key: string): Entry {
  const name = isScalar(entry.key) ? entry.key : new Scalar(key);
  name.value = key;
  delete name.source;
  entry.key = name;
  return entry;
}

/** A scalar that stands in the place of `origin`, with its comment. */
export function scalar(value: string | number, origin: Node | null | undefined): Scalar {
  const made = new Scalar(value);
  if (origin?.range != null) made.range = origin.range;
  if (origin?.comment != null) made.comment = origin.comment;
  return made;
}

export function valueOf(entry: Entry | undefined): unknown {
  return isScalar(entry?.value) ? entry.value.value : undefined;
}

/** The map under `key`, made in the place of `origin` where there is none; undefined when something else stands there. */
export function mapUnder(map: YAMLMap, key: string, origin: Entry): YAMLMap | undefined {
  const present = entryOf(map, key);
  if (present !== undefined) return isMap(present.value) ? present.value : undefined;
  const made = new YAMLMap();
  if (origin.key.range != null) made.range = origin.key.range;
  map.items.push(new Pair(keyAt(key, origin), made));
  return made;
}

/** As `mapUnder`, for a list. */
export function listUnder(map: YAMLMap, key: string, origin: Entry): YAMLSeq | undefined {
  const present = entryOf(map, key);
  if (present !== undefined) return isSeq(present.value) ? present.value : undefined;
  const made = new YAMLSeq();
  if (origin.key.range != null) made.range = origin.key.range;
  map.items.push(new Pair(keyAt(key, origin), made));
  return made;
}

/** A key in the place of that of `origin`. */
export function keyAt(key: string, origin: Entry): Scalar {
  const made = new Scalar(key);
  if (origin.key.range != null) made.range = origin.key.range;
  return made;
}

/** Puts `entry` into `map`; false when its key is there already. */
export function put(map: YAMLMap, entry: Entry): boolean {
  if (entryOf(map, keyText(entry.key) ?? '') !== undefined) return false;
  map.items.push(entry);
  return true;
}

/** Eru took any scalar where text belongs: as it was typed, so that `1.10` stays that. */
export function asText(node: Node | null): Node | null {
  if (!isScalar(node) || typeof node.value === 'string') return node;
  const made = scalar(node.source ?? '', node);
  made.type = Scalar.QUOTE_DOUBLE;
  return made;
}

/** `"8080"` → 8080, as the port fields of E3 are text. */
export function asNumber(node: Node | null): Node | null {
  if (!isScalar(node) || typeof node.value !== 'string' || !/^[0-9]{1,5}$/.test(node.value)) return node;
  return scalar(Number(node.value), node);
}
