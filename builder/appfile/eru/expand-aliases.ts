import { type Document, isAlias, isMap, isNode, isScalar, isSeq, type Node, visit } from 'yaml';

/**
 * Writes aliases out, because the mapping gives the same value different forms in different places. Only for a document whose
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
    if (!isAlias(node) && node.anchor !== undefined) {
      anchors.set(node.anchor, node);
      delete node.anchor;
    }
    return node;
  };
  if (isNode(tree.contents)) tree.contents = expand(tree.contents) as typeof tree.contents;
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
