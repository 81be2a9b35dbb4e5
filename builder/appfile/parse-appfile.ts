import { createSchemaChecker, sortFaults } from '../../core/document/check-schema.ts';
import { type DocumentFault, hasErrors, type SourceDocument } from '../../core/document/document.ts';
import { type EditableDocument, parseEditableDocument } from '../../core/document/parse-document.ts';
import type { SourceTree } from '../plan/source-tree.ts';
import type { AppFile, AppFileResult } from './appfile.ts';
import { checkAppFile } from './check-appfile.ts';
import { appFileCodes } from './codes.ts';
import { detectFormat, type EruFormat } from './eru/detect-format.ts';
import { mapEruDocument } from './eru/map-document.ts';
import { checkLegacy, isMap } from './legacy.ts';
import { appFileNames } from './names.ts';
import { appFileSchema } from './schema.ts';

export const maxAppFileBytes = 256 * 1024;

export interface AppFileOptions {
  /** Stands in for a missing `appname`: the name of the git repository. Without it, the key is required. */
  readonly defaultAppName?: string;
  /** Goes before the name of the file where faults show it, e.g. `services/pay/`. */
  readonly shownIn?: string;
}

/** Parses and checks an App.yaml, of v1 or of one of Eru's formats. Never throws: everything that is wrong with it is among the faults, all at once. */
export type AppFileParser = (
  file: string,
  input: Uint8Array | string,
  options?: AppFileOptions,
) => AppFileResult;

/** Compiling the schema takes some milliseconds, at the first file: a server makes one parser and keeps it. */
export function createAppFileParser(): AppFileParser {
  let check: ReturnType<typeof createSchemaChecker> | undefined;
  return (file, input, options = {}) => {
    check ??= createSchemaChecker(appFileSchema);
    const { editable, format } = readDocument(file, input);
    const readable = !hasErrors(editable.document.faults);
    const mapped = format === 'v1' ? undefined : mapEruDocument(editable, format, options);
    const document = mapped?.document ?? editable.document;
    // What the mapping only tells of may not hide a fault at the same place.
    const faults = readable
      ? sortFaults([
          ...(mapped?.faults ?? []),
          ...(mapped?.document.faults ?? []),
          ...checkAll(document, check, options),
        ])
      : document.faults;
    return {
      ...(hasErrors(faults) ? {} : { appfile: withName(document.value, options) }),
      faults,
      document,
      locate: (path, message) => document.fault(path, message),
    };
  };
}

/** The document and its format; v1 for what cannot be read. Merge keys are of YAML 1.1, which only the formats of Eru were written in. */
export function readDocument(
  file: string,
  input: Uint8Array | string,
): { editable: EditableDocument; format: 'v1' | EruFormat } {
  const editable = parseEditableDocument(file, input, { maxBytes: maxAppFileBytes });
  if (!hasErrors(editable.document.faults))
    return { editable, format: detectFormat(editable.document.value) };
  const merging = parseEditableDocument(file, input, { maxBytes: maxAppFileBytes, mergeKeys: true });
  const format = hasErrors(merging.document.faults) ? 'v1' : detectFormat(merging.document.value);
  return format === 'v1' ? { editable, format } : { editable: merging, format };
}

/** `createAppFileParser` for a single file. */
export function parseAppFile(
  file: string,
  input: Uint8Array | string,
  options: AppFileOptions = {},
): AppFileResult {
  return createAppFileParser()(file, input, options);
}

function checkAll(
  document: SourceDocument,
  checkSchema: (document: SourceDocument) => DocumentFault[],
  options: AppFileOptions,
): DocumentFault[] {
  if (document.value === null) {
    const message = 'the file is empty';
    return [document.fault([], { code: appFileCodes.missingKey, message, hint: 'run "brickyard init"' })];
  }
  const known = checkLegacy(document);
  const replaced = new Set(known.map((fault) => fault.path));
  const unknown = appFileCodes.unknownKey;
  const schema = checkSchema(document).filter((fault) => fault.code !== unknown || !replaced.has(fault.path));
  const faults = [...known, ...schema.map((fault) => improve(document, fault))];
  if (isMap(document.value)) {
    if (document.value['appname'] === undefined && options.defaultAppName === undefined) {
      faults.push(
        document.fault([], { code: appFileCodes.missingKey, message: 'the key "appname" is missing' }),
      );
    }
    faults.push(
      ...checkAppFile(
        document,
        withName(document.value, options),
        new Set(faults.map((fault) => fault.path)),
      ),
    );
  }
  return sortFaults(faults);
}

/** Hints that need more than the schema knows. */
function improve(document: SourceDocument, fault: DocumentFault): DocumentFault {
  if (fault.code === appFileCodes.entrypointName) {
    const name = nameIn(fault.path);
    const suggestion = name
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^[^a-z]+|-+$/g, '');
    const underscore = name.includes('_') ? "'_' is not allowed in the name of an entrypoint" : fault.message;
    return { ...fault, message: underscore, ...(suggestion === '' ? {} : { hint: `try "${suggestion}"` }) };
  }
  if (fault.path === 'appname' && fault.code === appFileCodes.value)
    return { ...fault, code: appFileCodes.appName };
  if (
    fault.path.endsWith('.restart') &&
    /:\s*(?:false|off)\b/i.test(document.text.split('\n')[fault.line - 1] ?? '')
  ) {
    return { ...fault, hint: 'write "no"' };
  }
  return fault;
}

/** `entrypoints.web_1` and `entrypoints["a b"]` → the name. */
function nameIn(path: string): string {
  const quoted = /^entrypoints\[(".*")\]$/.exec(path);
  return quoted?.[1] === undefined ? path.replace(/^entrypoints\.?/, '') : String(JSON.parse(quoted[1]));
}

function withName(value: unknown, options: AppFileOptions): AppFile {
  const file = value as AppFile;
  return file.appname === undefined && options.defaultAppName !== undefined
    ? { ...file, appname: options.defaultAppName }
    : file;
}

/**
 * Which of a project's files is its App.yaml; undefined when there is none.
 * `others` holds further ones, which is an error: nobody could tell which counts.
 */
export function findAppFile(
  names: Iterable<string>,
): { name: string; others: readonly string[] } | undefined {
  const present = new Set(names);
  const [name, ...others] = appFileNames.filter((candidate) => present.has(candidate));
  return name === undefined ? undefined : { name, others };
}

/**
 * Finds, reads and checks the App.yaml at the top of a source tree; undefined when it has none.
 * Errors: those of `tree.readFile` (a file larger than 256 KiB).
 */
export async function readAppFile(
  tree: Pick<SourceTree, 'readFile'>,
  parse: AppFileParser,
  options: AppFileOptions = {},
): Promise<AppFileResult | undefined> {
  const present: { name: string; bytes: Buffer }[] = [];
  for (const name of appFileNames) {
    const bytes = await tree.readFile(name, maxAppFileBytes);
    if (bytes !== undefined) present.push({ name, bytes });
  }
  const [first, second] = present;
  if (first === undefined) return undefined;
  const result = parse(`${options.shownIn ?? ''}${first.name}`, first.bytes, options);
  if (second === undefined) return result;
  const fault = result.document.fault([], {
    code: appFileCodes.ambiguousFile,
    message: `there is also ${second.name}, and only one of them can count`,
    hint: `remove ${second.name}`,
  });
  const { appfile: _, ...rest } = result;
  return { ...rest, faults: [fault] };
}
