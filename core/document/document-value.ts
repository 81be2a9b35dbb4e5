import { isAlias, isMap, isScalar, isSeq, type Node, type Scalar } from 'yaml';
import type { DocumentPath } from './document.ts';
import { documentCodes } from './document-codes.ts';
import { keyText } from './document-place.ts';

export interface Conversion {
  readonly maxDepth: number;
  readonly maxValues: number;
  /** Merge keys (`<<`, of YAML 1.1) are carried out instead of refused. */
  readonly mergeKeys: boolean;
  readonly anchors: Map<string, Node>;
  /** Takes a fault at an offset of the text. */
  readonly add: (
    offset: number,
    length: number,
    code: string,
    message: string,
    hint?: string,
    path?: DocumentPath,
  ) => void;
}

/** Nodes → null-prototype maps, arrays and scalars, with aliases written out. Recursion is bounded by `maxDepth`. */
export function toValue(root: Node, conversion: Conversion): unknown {
  const { anchors, add } = conversion;
  let values = 0;
  let stopped = false;
  const open = new Set<Node>();

  function fail(node: Node, message: string, path: DocumentPath, hint?: string, code?: string): undefined {
    const [start, end] = node.range ?? [0, 1];
    add(start, end - start, code ?? documentCodes.unsupported, message, hint, path);
    return undefined;
  }

  function convert(node: Node, path: DocumentPath, depth: number): unknown {
    values += 1;
    if (stopped) return undefined;
    if (values > conversion.maxValues || depth > conversion.maxDepth) {
      stopped = true;
      const bomb = values > conversion.maxValues;
      return fail(
        node,
        bomb ? 'the file holds too many values, aliases written out' : 'nested too deep',
        path,
      );
    }
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (target === undefined)
        return fail(node, `the alias *${clip(node.source)} has no anchor before it`, path);
      if (open.has(target)) return fail(node, `the alias *${clip(node.source)} contains itself`, path);
      return convert(target, path, depth);
    }
    if (
      node.tag !== undefined &&
      !/^tag:yaml\.org,2002:(?:str|int|float|bool|null|map|seq)$/.test(node.tag)
    ) {
      return fail(node, 'YAML tags (!name) are not accepted', path, 'write a plain value');
    }
    if (node.anchor !== undefined) anchors.set(node.anchor, node);
    if (isScalar(node)) return scalar(node, path);
    if (depth >= conversion.maxDepth) {
      return fail(node, `maps and lists are nested more than ${conversion.maxDepth} levels deep`, []);
    }
    open.add(node);
    try {
      if (isSeq(node)) {
        return node.items.map((item, index) => convert(item as Node, [...path, index], depth + 1));
      }
      return isMap(node) ? map(node, path, depth) : fail(node, 'this YAML is not accepted', path);
    } finally {
      open.delete(node);
    }
  }

  function map(
    node: Node & { items: { key: unknown; value: unknown }[] },
    path: DocumentPath,
    depth: number,
  ) {
    const result = Object.create(null) as Record<string, unknown>;
    const merged: Record<string, unknown>[] = [];
    for (const { key: keyNode, value: valueNode } of node.items) {
      const key = keyText(keyNode);
      if (key === undefined) {
        fail((keyNode as Node | null) ?? node, 'a key must be text', path, 'put the key in quotes');
        continue;
      }
      if (key === '<<' && conversion.mergeKeys) {
        const from = valueNode === null ? null : convert(valueNode as Node, [...path, key], depth + 1);
        const maps = Array.isArray(from) ? (from as unknown[]) : [from];
        if (maps.every(isValueMap)) merged.push(...maps);
        else fail(keyNode as Node, 'a merge key (<<) takes a map or a list of maps', path);
        continue;
      }
      if (key === '<<') {
        fail(keyNode as Node, 'merge keys (<<) are not accepted', path, 'write the keys out');
        continue;
      }
      if (Object.hasOwn(result, key)) {
        const shown = JSON.stringify(clip(key));
        fail(
          keyNode as Node,
          `the key ${shown} stands twice in this map`,
          [...path, key],
          undefined,
          documentCodes.duplicateKey,
        );
        continue;
      }
      const value = valueNode === null ? null : convert(valueNode as Node, [...path, key], depth + 1);
      Object.defineProperty(result, key, { value, enumerable: true, configurable: true, writable: true });
      if (stopped) break;
    }
    // What a map says itself wins wherever it stands, and the earlier of two merged ones.
    for (const [key, value] of merged.flatMap((from) => Object.entries(from))) {
      if (Object.hasOwn(result, key)) continue;
      Object.defineProperty(result, key, { value, enumerable: true, configurable: true, writable: true });
    }
    return result;
  }

  function scalar(node: Scalar, path: DocumentPath): unknown {
    if (typeof node.value === 'bigint') return Number(node.value);
    if (typeof node.value === 'string') {
      // Escapes in double quotes can make what the text itself may not hold.
      if (node.value.includes('\0')) return fail(node, 'a NUL is not allowed in a value', path);
      if (!node.value.isWellFormed()) return fail(node, 'half a surrogate pair is not a character', path);
    }
    return node.value;
  }

  return convert(root, [], 0);
}

function isValueMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function clip(text: string): string {
  return text.length > 64 ? `${text.slice(0, 64)}…` : text;
}
