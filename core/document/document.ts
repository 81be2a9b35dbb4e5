/**
 * YAML files written by people (App.yaml, base.yaml, brickyard.yaml): parsed with positions, checked against a JSON Schema,
 * and every fault reported at once as `file:line:column` with the source line, a caret and, where one is near, a "did you mean".
 */
export interface DocumentFault {
  /** Stable code for machines and documentation, e.g. `E014`. */
  readonly code: string;
  readonly severity: 'error' | 'warning' | 'info';
  /** 1-based. */
  readonly line: number;
  /** 1-based, in UTF-16 units. */
  readonly column: number;
  /** Length of what the caret line underlines; at least 1. */
  readonly length: number;
  /** Dotted path of the value, e.g. `entrypoints.web.ports[0]`; empty for the whole file. */
  readonly path: string;
  readonly message: string;
  /** "did you mean", or what to write instead. */
  readonly hint?: string;
}

/** Map keys and list indexes from the top of a document to one of its values. */
export type DocumentPath = readonly (string | number)[];

/** A parsed file whose values can be traced back to their place. `value` holds only null-prototype maps, arrays and scalars. */
export interface SourceDocument {
  readonly file: string;
  /** The text without a byte order mark. Empty when the bytes were no UTF-8 text or too many. */
  readonly text: string;
  /** Undefined when the file could not be read as YAML at all (then `faults` holds an error). */
  readonly value: unknown;
  readonly faults: readonly DocumentFault[];
  /**
   * A fault at the value under `path` (JSON path segments); `at: 'key'` points to the key of a map entry. A path that is not
   * in the file points to the nearest part of it that is.
   */
  fault(
    path: DocumentPath,
    fault: {
      code: string;
      message: string;
      hint?: string;
      severity?: DocumentFault['severity'];
      at?: 'key' | 'value';
    },
  ): DocumentFault;
  /** A scalar exactly as it was typed (`1.10`, `0x1F`, `"quoted"`), which its value no longer tells; undefined for maps and lists. */
  written(path: DocumentPath): string | undefined;
}

/** Whether a file with these faults may be used: warnings do not stop anything. */
export function hasErrors(faults: readonly DocumentFault[]): boolean {
  return faults.some((fault) => fault.severity === 'error');
}

/** `['entrypoints', 'web', 'ports', 0]` → `entrypoints.web.ports[0]`; keys that are no plain words are quoted. */
export function formatDocumentPath(path: DocumentPath): string {
  let text = '';
  for (const segment of path) {
    if (typeof segment === 'number') text += `[${segment}]`;
    else if (/^[\p{L}\p{N}_-]+$/u.test(segment)) text += text === '' ? segment : `.${segment}`;
    else text += `[${JSON.stringify(segment)}]`;
  }
  return text;
}
