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

/** A parsed file whose values can be traced back to their place. `value` holds only null-prototype maps, arrays and scalars. */
export interface SourceDocument {
  readonly file: string;
  readonly text: string;
  readonly value: unknown;
  readonly faults: readonly DocumentFault[];
  /** A fault at the value under `path` (JSON path segments); `at: 'key'` points to the key of a map entry. */
  fault(
    path: readonly (string | number)[],
    fault: {
      code: string;
      message: string;
      hint?: string;
      severity?: DocumentFault['severity'];
      at?: 'key' | 'value';
    },
  ): DocumentFault;
}
