import { type Document, isMap, isNode, isScalar, isSeq, visit } from 'yaml';

/** Every comment in a tree, in its order. */
export function commentsOf(tree: Document): string[] {
  const comments: string[] = [];
  const take = (text: string | null | undefined): void => {
    if (text !== undefined && text !== null && text.trim() !== '') comments.push(text);
  };
  take(tree.commentBefore);
  if (isNode(tree.contents)) {
    visit(tree.contents, {
      Node(_key, node) {
        if (!isScalar(node) && !isMap(node) && !isSeq(node)) return;
        take(node.commentBefore);
        take(node.comment);
      },
    });
  }
  take(tree.comment);
  return comments;
}

/** Puts comments whose key is gone at the end of the file: a note of somebody is never lost. */
export function keepComments(tree: Document, before: readonly string[]): void {
  const left = new Map<string, number>();
  for (const comment of commentsOf(tree)) left.set(comment, (left.get(comment) ?? 0) + 1);
  const lost = before.filter((comment) => {
    const count = left.get(comment) ?? 0;
    left.set(comment, count - 1);
    return count <= 0;
  });
  if (lost.length > 0) tree.comment = [tree.comment, ...lost].filter((text) => text != null).join('\n');
}
