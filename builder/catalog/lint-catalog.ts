import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { DocumentFault, SourceDocument } from '../../core/document/document.ts';
import { checkRuntimeScript, maxRuntimeScriptBytes } from '../plan/runtime-script.ts';
import type { BaseFile } from './base-file.ts';
import { createCatalogChecker } from './check-catalog.ts';
import { catalogCodes } from './codes.ts';
import { readCatalogDocuments } from './load-catalog.ts';

/** A file of a catalog and what is wrong with it; see `formatFaults`. */
export interface LintedFile {
  readonly document: Pick<SourceDocument, 'file' | 'text'>;
  readonly faults: readonly DocumentFault[];
}

export interface CatalogLint {
  /** How many entries were looked at. */
  readonly entries: number;
  /** Those with faults, in the order of folders. */
  readonly files: readonly LintedFile[];
}

/** Everything that can be said about catalogs without building them, scripts included. Errors: UserError when a folder cannot be read. */
export async function lintCatalog(directories: string | readonly string[]): Promise<CatalogLint> {
  const { documents, settings } = await readCatalogDocuments(directories);
  const { faults } = createCatalogChecker()(documents, settings);
  const found = new Map(faults.map((each) => [each.document, [...each.faults]]));
  const files: LintedFile[] = settings.flatMap(({ document }) => listed(document, found.get(document) ?? []));
  for (const { document, directory } of documents) {
    const own = found.get(document) ?? [];
    // What the schema refused cannot be asked for its keys.
    const file = own.some(({ severity }) => severity === 'error') ? undefined : (document.value as BaseFile);
    const scripts: LintedFile[] = [];
    for (const name of ['static.sh', 'runtime.sh'] as const) {
      const bytes = await readScript(join(directory, name));
      if (bytes !== undefined) {
        const script = checkRuntimeScript(join(directory, name), bytes);
        scripts.push(...listed(script.document, recoded(script.faults)));
      }
      if (file !== undefined) own.push(...checkScriptKeys(document, file, name, bytes !== undefined));
    }
    files.push(...listed(document, own), ...scripts);
  }
  return { entries: documents.length, files };
}

function listed(document: LintedFile['document'], faults: readonly DocumentFault[]): LintedFile[] {
  return faults.length === 0 ? [] : [{ document, faults }];
}

/** The check is App.yaml's too, whose codes are its own. */
function recoded(faults: readonly DocumentFault[]): readonly DocumentFault[] {
  return faults.map((fault) => ({ ...fault, code: catalogCodes.script }));
}

/** Where a script and base.yaml do not fit. */
function checkScriptKeys(
  document: SourceDocument,
  file: BaseFile,
  name: 'static.sh' | 'runtime.sh',
  there: boolean,
): DocumentFault[] {
  const { script: code, advice } = catalogCodes;
  if (name === 'runtime.sh') {
    if (file.runtime !== undefined && !there) {
      const message = 'there is no runtime.sh beside base.yaml';
      return [document.fault(['runtime'], { code, message, at: 'key' })];
    }
    if (file.runtime === undefined && there) {
      const message = 'runtime.sh is not used: the key "runtime" is missing';
      const hint = 'write runtime: {order: 50}';
      return [document.fault(['name'], { code: advice, severity: 'warning', message, hint })];
    }
    return [];
  }
  if (there && file.parent === undefined) {
    const message = 'static.sh runs over a parent, and this entry has none';
    return [document.fault(['name'], { code, message })];
  }
  const unused = (file.sources ?? []).findIndex(
    ({ unpack, links }) => unpack === undefined && links === undefined,
  );
  if (there || unused === -1) return [];
  const message = 'nothing uses this source: it has no "unpack", and there is no static.sh';
  return [document.fault(['sources', unused, 'name'], { code: advice, severity: 'warning', message })];
}

/** Undefined = not there. Of what is too large only so much that the check can say it. */
async function readScript(path: string): Promise<Uint8Array | undefined> {
  const handle = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (handle === undefined) return undefined;
  try {
    const { buffer, bytesRead } = await handle.read(
      Buffer.alloc(maxRuntimeScriptBytes),
      0,
      maxRuntimeScriptBytes,
      0,
    );
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
