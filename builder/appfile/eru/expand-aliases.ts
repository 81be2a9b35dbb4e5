import { type Document, isAlias, isMap, isNode, isScalar, isSeq, type Node, visit, type YAMLMap } from 'yaml';
import { keyText } from '../../../core/document/document-place.ts';

/**
 * Writes aliases and merge keys out, because the mapping gives the same value different forms in different places. Only for a document whose
 * values were read before: that bounds their number and refuses aliases without an anchor or within their own.
 */
export function expandAliases(tree: Document): void {
  const anchors = new Map<string, Node>();
  const expand = (node: Node): Node => {
    if (isAlias(node)) {
      const copy = anchors.get(node.source)?.clone() as Node | undefined;
      if (copy === undefined) return node;
      dropComments(copy);
      return copy;
    }
    if (isSeq(node)) node.items = node.items.map((item) => (isNode(item) ? expand(item) : item));
    if (isMap(node)) {
      for (const pair of node.items) if (isNode(pair.value)) pair.value = expand(pair.value);
    }
    if (isMap(node)) mergeEntries(node);
    if (!isAlias(node) && node.anchor !== undefined) {
      anchors.set(node.anchor, node);
      delete node.anchor;
    }
    return node;
  };
  if (isNode(tree.contents)) tree.contents = expand(tree.contents) as typeof tree.contents;
}

/** Writes out `<<`, as the values were read: a map's own keys win, then those of the first map merged. */
function mergeEntries(map: YAMLMap): void {
  const merged = map.items.filter(({ key }) => keyText(key) === '<<');
  if (merged.length === 0) return;
  map.items = map.items.filter((pair) => !merged.includes(pair));
  const present = new Set(map.items.map(({ key }) => keyText(key)));
  const sources = merged.flatMap(({ value }) => (isSeq(value) ? value.items : [value]));
  for (const source of sources) {
    if (!isMap(source)) continue;
    for (const pair of source.items) {
      const key = keyText(pair.key);
      if (present.has(key)) continue;
      present.add(key);
      map.items.push(pair);
    }
  }
}

function dropComments(root: Node): void {
  visit(root, {
    Node(_key, node) {
      if (!isScalar(node) && !isMap(node) && !isSeq(node)) return;
      delete node.comment;
      delete node.commentBefore;
    },
  });
}
