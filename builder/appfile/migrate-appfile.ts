import { type DocumentFault, hasErrors, type SourceDocument } from '../../core/document/document.ts';
import type { EruFormat } from './eru/detect-format.ts';
import { mapEruDocument } from './eru/map-document.ts';
import { type AppFileOptions, type AppFileParser, parseAppFile, readDocument } from './parse-appfile.ts';

export interface Migration {
  readonly format: 'v1' | EruFormat;
  /** The file as v1, with its comments; what it was when it is v1 already. Undefined when there is an error among the faults. */
  readonly text?: string;
  readonly faults: readonly DocumentFault[];
  /** For `formatFaults`. */
  readonly document: SourceDocument;
}

/** A file of Eru → the App.yaml v1 that means the same. Never throws; faults point into the file as it was. */
export function migrateAppFile(
  file: string,
  input: Uint8Array | string,
  options: AppFileOptions & { /** For many files: one that is kept. */ parse?: AppFileParser } = {},
): Migration {
  const { faults, document } = (options.parse ?? parseAppFile)(file, input, options);
  const { editable, format } = readDocument(file, input);
  if (hasErrors(faults)) return { format, faults, document };
  if (format === 'v1') return { format, faults, document, text: editable.document.text };
  const text = mapEruDocument(editable, format, options)?.print();
  return { format, faults, document, ...(text === undefined ? {} : { text }) };
}
