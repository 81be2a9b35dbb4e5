import type { YAMLMap } from 'yaml';
import type { DocumentFault, DocumentPath, SourceDocument } from '../../../core/document/document.ts';
import { maxFaults } from '../../../core/document/document-codes.ts';
import { keyText } from '../../../core/document/document-place.ts';
import { suggest } from '../../../core/document/suggest.ts';
import { appFileCodes } from '../codes.ts';
import type { EruFormat } from './detect-format.ts';
import { type Entry, mapUnder, put } from './tree.ts';

/** One file on its way from a format of Eru to v1. */
export interface Mapping {
  readonly format: EruFormat;
  /** Of the file, or what stands in for it. */
  readonly appname: string;
  /** Names that this repository may have in `repo:` of a stage. */
  readonly repositories: readonly string[];
  readonly top: YAMLMap;
  /** Nothing is stopped by it: what became of something that has no place of its own in v1. */
  note(path: DocumentPath, message: string): void;
  /** Accepted, but it may mean something else now. */
  warn(path: DocumentPath, message: string, hint?: string): void;
  /** Warns of a key that neither Eru nor v1 knows, with the one of `known` that was meant. */
  warnUnknown(path: DocumentPath, key: string, known: readonly string[]): void;
  refuse(path: DocumentPath, message: string, hint: string): void;
  /** Keeps an entry as metadata for the scheduler: `deploy`, or `deploy.roles.<role>`. `path` is its place in the file. */
  keep(path: DocumentPath, entry: Entry, under?: DocumentPath): void;
}

export function createMapping(input: {
  document: SourceDocument;
  format: EruFormat;
  appname: string;
  repositories: readonly string[];
  top: YAMLMap;
  faults: DocumentFault[];
}): Mapping {
  const { document, faults, top } = input;
  const mapping: Mapping = {
    format: input.format,
    appname: input.appname,
    repositories: input.repositories,
    top,
    note(path, message) {
      if (faults.length >= maxFaults) return;
      faults.push(document.fault(path, { code: appFileCodes.mapped, message, severity: 'info', at: 'key' }));
    },
    warn(path, message, hint) {
      if (faults.length >= maxFaults) return;
      const fault = { code: appFileCodes.mapped, message, severity: 'warning', at: 'key' } as const;
      faults.push(document.fault(path, hint === undefined ? fault : { ...fault, hint }));
    },
    warnUnknown(path, key, known) {
      // Looking for what was meant costs more than all the rest.
      if (faults.length >= maxFaults) return;
      const near = suggest(key, known);
      const hint = near === undefined ? undefined : `did you mean "${near}"?`;
      mapping.warn(path, `unknown key "${key.slice(0, 64)}"`, hint);
    },
    refuse(path, message, hint) {
      // Errors are told even when notes filled the list: a file with one may not pass.
      if (faults.length >= 2 * maxFaults) return;
      faults.push(document.fault(path, { code: appFileCodes.legacy, message, hint, at: 'key' }));
    },
    keep(path, entry, under = []) {
      let map = mapUnder(top, 'deploy', entry);
      for (const segment of under) map = map && mapUnder(map, String(segment), entry);
      const key = keyText(entry.key) ?? '';
      if (map !== undefined && put(map, entry)) {
        const label = ['deploy', ...under, key].join('.');
        mapping.note(path, `kept for the scheduler as ${label}, in the label org.brickyard.deploy`);
      } else
        mapping.refuse(path, `"${key}" cannot be kept under deploy`, 'something else has its place there');
    },
  };
  return mapping;
}
