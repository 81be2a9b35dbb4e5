import { isAlias, isMap, isScalar, isSeq, type Node, Scalar } from 'yaml';
import type { DocumentPath } from './document.ts';

/** The text of a map key. A key typed as `8080` or `true` counts as that text. */
export function keyText(node: unknown): string | undefined {
  if (!isScalar(node)) return undefined;
  if (typeof node.value === 'string') return node.value.isWellFormed() ? node.value : undefined;
  return node.source !== undefined && node.type === Scalar.PLAIN && node.value !== null
    ? node.source
    : undefined;
}

function child(
  node: Node | undefined,
  segment: string | number,
): { key?: Node; value: Node | undefined } | undefined {
  if (isSeq(node) && typeof segment === 'number') {
    const value = node.items[segment] as Node | undefined;
    return value === undefined ? undefined : { value };
  }
  if (!isMap(node)) return undefined;
  const pair = node.items.find((item) => keyText(item.key) === String(segment));
  if (pair === undefined) return undefined;
  return { key: pair.key as Node, value: (pair.value as Node | null) ?? undefined };
}

function follow(node: Node | undefined, anchors: ReadonlyMap<string, Node>): Node | undefined {
  return isAlias(node) ? anchors.get(node.source) : node;
}

export function lookUp(
  root: Node | undefined,
  anchors: ReadonlyMap<string, Node>,
  path: DocumentPath,
): Node | undefined {
  let node = root;
  for (const segment of path) node = child(follow(node, anchors), segment)?.value;
  return follow(node, anchors);
}

/** The range of text that a fault at `path` underlines. */
export function find(
  root: Node | undefined,
  anchors: ReadonlyMap<string, Node>,
  path: DocumentPath,
  at: 'key' | 'value',
): [number, number] {
  let node = root;
  let key: Node | undefined;
  let complete = true;
  for (const segment of path) {
    const next = child(follow(node, anchors), segment);
    if (next === undefined) {
      complete = false;
      break;
    }
    key = next.key;
    node = next.value;
  }
  // A whole map or list is shown by its key: underlining its first line only would point at one of its parts.
  const atKey = key !== undefined && (at === 'key' || node === undefined || !complete || !isScalar(node));
  const [start, end] = (atKey ? key?.range : node?.range) ?? key?.range ?? [0, 1];
  return path.length === 0 || (!complete && key === undefined && !isScalar(node))
    ? [start, start + 1]
    : [start, end];
}
