import { isUtf8 } from 'node:buffer';
import { Composer, type Document, isScalar, Lexer, type Node, Parser } from 'yaml';
import {
  type DocumentFault,
  type DocumentPath,
  formatDocumentPath,
  type SourceDocument,
} from './document.ts';

import { documentCodes, maxFaults } from './document-codes.ts';
import { find, lookUp } from './document-place.ts';
import { type Conversion, toValue } from './document-value.ts';

export interface DocumentLimits {
  /** Default 256 KiB. */
  readonly maxBytes?: number;
  /** Maps and lists inside one another. Default 20. */
  readonly maxDepth?: number;
  /** Values after aliases were written out, which bounds an alias bomb. Default 100 000. */
  readonly maxValues?: number;
  /** Merge keys (`<<`) are carried out; default false: they are faults. */
  readonly mergeKeys?: boolean;
}

/**
 * Reads one YAML 1.2 document (core schema). Never throws on any input: what is wrong stands in `faults`, and time and memory
 * are bounded by the limits. CRLF line ends and a byte order mark are accepted.
 */
export function parseDocument(
  file: string,
  input: Uint8Array | string,
  limits: DocumentLimits = {},
): SourceDocument {
  return parseEditableDocument(file, input, limits).document;
}

/** A document whose tree can be rewritten without losing comments or places. */
export interface EditableDocument {
  readonly document: SourceDocument;
  /**
   * Gives a copy of the tree to `edit` and reads the values of what it made of it. Faults of the new document point into the
   * old text, by the ranges of its nodes: a new node needs that of the one it stands for. Undefined when there is no tree.
   */
  change(edit: (tree: Document) => void): EditedDocument | undefined;
}

export interface EditedDocument {
  readonly document: SourceDocument;
  /** The changed tree as YAML, with its comments. */
  print(): string;
}

/** `parseDocument` for a file that is going to be rewritten. */
export function parseEditableDocument(
  file: string,
  input: Uint8Array | string,
  limits: DocumentLimits = {},
): EditableDocument {
  const decoded = decode(input, limits.maxBytes ?? 256 * 1024);
  const text = typeof decoded === 'string' ? decoded : decoded.text;
  const source = createSource(file, text);
  const unreadable = (): EditableDocument => ({
    document: source.finish(undefined, undefined),
    change: () => undefined,
  });
  if (typeof decoded !== 'string') {
    source.add(decoded.offset, decoded.length, documentCodes.encoding, decoded.message, decoded.hint);
    return unreadable();
  }
  const maxDepth = limits.maxDepth ?? 20;
  const conversion = {
    maxDepth,
    maxValues: limits.maxValues ?? 100_000,
    mergeKeys: limits.mergeKeys ?? false,
  };
  const tree = compose(source, text, maxDepth);
  if (tree === undefined) return unreadable();
  return {
    document: source.finish(tree.contents ?? undefined, conversion),
    change(edit) {
      const copy: Document = tree.clone();
      edit(copy);
      const document = createSource(file, text).finish(copy.contents ?? undefined, conversion);
      return { document, print: () => copy.toString({ lineWidth: 0, flowCollectionPadding: false }) };
    },
  };
}

interface BadText {
  readonly text: string;
  readonly offset: number;
  readonly length: number;
  readonly message: string;
  readonly hint?: string;
}

function decode(input: Uint8Array | string, maxBytes: number): string | BadText {
  const size = typeof input === 'string' ? Buffer.byteLength(input) : input.byteLength;
  if (size > maxBytes) {
    const message = `the file has ${size} bytes; at most ${maxBytes} are read`;
    return { text: '', offset: 0, length: 1, message };
  }
  let text: string;
  if (typeof input === 'string') text = input;
  else if (isUtf8(input))
    text = Buffer.from(input.buffer, input.byteOffset, input.byteLength).toString('utf8');
  else {
    const loose = Buffer.from(input).toString('utf8');
    const utf16 = (input[0] === 0xff && input[1] === 0xfe) || (input[0] === 0xfe && input[1] === 0xff);
    return {
      text: utf16 ? '' : loose,
      offset: utf16 ? 0 : loose.indexOf('\uFFFD'),
      length: 1,
      message: utf16 ? 'the file is UTF-16; only UTF-8 is read' : 'this byte is not UTF-8 text',
      hint: 'save the file as UTF-8',
    };
  }
  if (text.startsWith('\uFEFF')) text = text.slice(1);
  // YAML 1.2 section 5.1 allows these controls only: tab, line feed, carriage return, next line.
  const control = /(?![\t\n\r\u0085])\p{Cc}/u.exec(text);
  if (control !== null) {
    const code = control[0].charCodeAt(0);
    const name =
      code === 0 ? 'a NUL' : `the control character U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
    return { text, offset: control.index, length: 1, message: `${name} is not allowed in the file` };
  }
  const lone = /\r(?!\n)/.exec(text);
  if (lone !== null) {
    return {
      text,
      offset: lone.index,
      length: 1,
      message: 'a carriage return without a line feed is not allowed in the file',
      hint: 'end lines with LF or CRLF',
    };
  }
  return text;
}

type Source = ReturnType<typeof createSource>;

function createSource(file: string, text: string) {
  const faults: DocumentFault[] = [];
  const lineStarts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lineStarts.push(at + 1);
  const nodes: { root: Node | undefined; anchors: ReadonlyMap<string, Node> } = {
    root: undefined,
    anchors: new Map(),
  };

  function place(offset: number, length: number): Pick<DocumentFault, 'line' | 'column' | 'length'> {
    let low = 0;
    let high = lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((lineStarts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    const start = lineStarts[low] ?? 0;
    const next = lineStarts[low + 1];
    const end = next === undefined ? text.length : next - 1;
    return { line: low + 1, column: offset - start + 1, length: Math.max(1, Math.min(length, end - offset)) };
  }

  function add(
    offset: number,
    length: number,
    code: string,
    message: string,
    hint?: string,
    path: DocumentPath = [],
  ): void {
    if (faults.length >= maxFaults) return;
    faults.push({
      code,
      severity: 'error',
      ...place(offset, length),
      path: formatDocumentPath(path),
      message,
      ...(hint === undefined ? {} : { hint }),
    });
  }

  return {
    add,
    get failed(): boolean {
      return faults.length > 0;
    },
    finish(
      root: Node | undefined,
      limits: Pick<Conversion, 'maxDepth' | 'maxValues' | 'mergeKeys'> | undefined,
    ): SourceDocument {
      let value: unknown;
      if (root !== undefined && limits !== undefined) {
        const anchors = new Map<string, Node>();
        value = toValue(root, { ...limits, anchors, add });
        nodes.root = root;
        nodes.anchors = anchors;
      } else if (limits !== undefined) value = null;
      return {
        file,
        text,
        value,
        faults,
        fault(path, { code, message, hint, severity = 'error', at = 'value' }) {
          const [start, end] = find(nodes.root, nodes.anchors, path, at);
          return {
            code,
            severity,
            ...place(start, end - start),
            path: formatDocumentPath(path),
            message,
            ...(hint === undefined ? {} : { hint }),
          };
        },
        written(path) {
          const node = lookUp(nodes.root, nodes.anchors, path);
          if (!isScalar(node) || node.range == null) return undefined;
          return text.slice(node.range[0], node.range[1]).replace(/^[&!]\S+\s+/, '');
        },
      };
    },
  };
}

/** Lexes, parses and composes token by token, so that nesting stops at the limit before anything recursive sees it. */
function compose(source: Source, text: string, maxDepth: number): Document.Parsed | undefined {
  const parser = new Parser();
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    merge: false,
    // Comparing every key with every other is quadratic; `toValue` does it with a set.
    uniqueKeys: false,
    strict: true,
    stringKeys: false,
    logLevel: 'silent',
  });
  const documents: Document.Parsed[] = [];
  let errors = 0;
  const feed = (tokens: ReturnType<Parser['next']>): void => {
    for (const token of tokens) {
      // Each costs an error object with a message; a file of nothing but errors would make a quarter of a million.
      if (token.type === 'error') errors += 1;
      if (token.type === 'directive') {
        source.add(
          token.offset,
          token.source.length,
          documentCodes.unsupported,
          ...explain('BAD_DIRECTIVE', ''),
        );
      }
      for (const document of composer.next(token)) documents.push(document);
    }
  };
  try {
    for (const lexeme of new Lexer().lex(text)) {
      // The stack holds the document and, for each level, its collection and what stands in it.
      if (parser.stack.length > maxDepth + 2) {
        const message = `maps and lists are nested more than ${maxDepth} levels deep`;
        source.add(Math.min(parser.offset, text.length), 1, documentCodes.unsupported, message);
        return undefined;
      }
      feed(parser.next(lexeme));
      if (source.failed) return undefined;
      if (documents.length > 0 || errors >= maxFaults) break;
    }
    if (documents.length === 0) {
      feed(parser.end());
      for (const document of composer.end(true, text.length)) documents.push(document);
    }
  } catch (error) {
    // The library reports what it dislikes as values; anything thrown is its own limit or fault, and still only a bad file.
    source.add(0, 1, documentCodes.syntax, `the file cannot be read as YAML: ${plain(String(error))}`);
    return undefined;
  }
  const [document, second] = documents;
  if (document === undefined) return undefined;
  if (second !== undefined || parser.offset < text.length - 1) {
    if (document.errors.length === 0) {
      const at = second?.contents?.range?.[0] ?? document.range[2];
      const message = 'the file holds more than one YAML document';
      source.add(
        Math.min(at, text.length),
        3,
        documentCodes.unsupported,
        message,
        'remove all but the first',
      );
      return undefined;
    }
  }
  for (const error of document.errors) {
    const [start, end] = error.pos;
    const unsupported = error.code === 'TAG_RESOLVE_FAILED' || error.code === 'MULTIPLE_DOCS';
    const code = unsupported ? documentCodes.unsupported : documentCodes.syntax;
    source.add(start, end - start, code, ...explain(error.code, error.message));
  }
  for (const warning of document.warnings) {
    const [start, end] = warning.pos;
    source.add(start, end - start, documentCodes.unsupported, ...explain(warning.code, warning.message));
  }
  return source.failed ? undefined : document;
}

function explain(code: string, message: string): [string, string?] {
  switch (code) {
    case 'TAB_AS_INDENT':
      return ['a tab is used for indentation', 'indent with spaces'];
    case 'TAG_RESOLVE_FAILED':
      return ['YAML tags (!name) are not accepted', 'write a plain value'];
    case 'BAD_DIRECTIVE':
      return ['YAML directives (%NAME) are not accepted', 'remove the line'];
    case 'BLOCK_AS_IMPLICIT_KEY':
    case 'MULTILINE_IMPLICIT_KEY':
      return ['this is not a "key: value" line', 'check the colons, the quotes and the indentation'];
    case 'BAD_SCALAR_START':
      return [plain(message), 'put the value in quotes'];
    default:
      return [plain(message)];
  }
}

/** The library's messages without the parts that repeat the position, on one line. */
function plain(message: string): string {
  const line = (message.split('\n')[0] ?? '').replace(/ at line \d+, column \d+:?$/, '');
  return line.length > 200 ? `${line.slice(0, 200)}…` : line;
}
