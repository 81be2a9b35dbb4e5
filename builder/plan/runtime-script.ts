import { posix } from 'node:path';
import type { DocumentFault, SourceDocument } from '../../core/document/document.ts';
import { UserError } from '../../core/user-error.ts';
import type { AppFileResult } from '../appfile/appfile.ts';
import { appFileCodes } from '../appfile/codes.ts';

/** A script that `runtime` or `static` names has no reason to be larger. */
export const maxRuntimeScriptBytes = 1024 * 1024;

/** A script with its faults; see `formatFaults`. */
export interface RuntimeScript {
  readonly document: Pick<SourceDocument, 'file' | 'text'>;
  readonly faults: readonly DocumentFault[];
}

/** Why a script would fail, or do something else than it says. All faults are errors. */
export function checkRuntimeScript(file: string, bytes: Uint8Array): RuntimeScript {
  const faults: DocumentFault[] = [];
  const fail = (line: number, column: number, length: number, message: string, hint: string): void => {
    faults.push({
      code: appFileCodes.runtimeScript,
      severity: 'error',
      line,
      column,
      length: Math.max(1, length),
      path: '',
      message,
      hint,
    });
  };
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    fail(1, 1, 1, 'the script is not UTF-8 text', 'let a script start the program');
    return { document: { file, text: '' }, faults };
  }
  const lines = text.split('\n');
  const [first = ''] = lines;
  const shebang = /^#!\s*(\S*)/.exec(first)?.[1];
  if (text.startsWith('\uFEFF')) {
    const message = 'a byte order mark stands before "#!", so the kernel does not see it';
    fail(1, 1, 1, message, 'save it as UTF-8 without a byte order mark');
  } else if (shebang === undefined) {
    fail(1, 1, 1, 'the first line does not say what runs the script', 'begin with #!/bin/sh');
  } else if (!shebang.startsWith('/')) {
    fail(1, 1, first.length, '"#!" needs an absolute path', 'write #!/bin/sh or #!/usr/bin/env NAME');
  }
  const carriage = lines.findIndex((line) => line.endsWith('\r'));
  if (carriage >= 0) {
    const line = lines[carriage] ?? '';
    const message = 'the lines end in CR LF, and the CR becomes part of each command';
    fail(carriage + 1, line.length, 1, message, `convert it: sed -i 's/\\r$//' ${file}`);
  }
  const nul = lines.findIndex((line) => line.includes('\0'));
  if (nul >= 0) {
    const column = (lines[nul] ?? '').indexOf('\0') + 1;
    fail(nul + 1, column, 1, 'the script holds a NUL byte', 'it has to be text');
  }
  return { document: { file, text }, faults };
}

/** Where the scripts are. */
export interface ScriptSource {
  /** Undefined = no regular file. Errors: UserError when it is larger than `limit` bytes. */
  readFile(path: string, limit: number): Promise<Uint8Array | undefined>;
  isExecutable(path: string): Promise<boolean>;
}

/**
 * Reads and checks the scripts that `runtime` and `static` name: faults within them have places of their own, and those of a missing one are
 * faults of App.yaml. One that is not executable is warned of only, because it is run all the same. Without those that are fine.
 */
export async function lintScripts(
  parsed: AppFileResult,
  source: ScriptSource,
): Promise<readonly RuntimeScript[]> {
  const found: RuntimeScript[] = [];
  for (const key of ['runtime', 'static'] as const) {
    const file = parsed.appfile?.[key];
    if (file !== undefined) found.push(await lintScript(parsed, key, file, source));
  }
  return found.filter(({ faults }) => faults.length > 0);
}

async function lintScript(
  parsed: AppFileResult,
  key: 'runtime' | 'static',
  file: string,
  source: ScriptSource,
): Promise<RuntimeScript> {
  const atKey = (fault: Parameters<AppFileResult['locate']>[1]): RuntimeScript => ({
    document: parsed.document,
    faults: [parsed.locate([key], fault)],
  });
  const code = appFileCodes.runtimeScript;
  let bytes: Uint8Array | undefined;
  try {
    bytes = await source.readFile(file, maxRuntimeScriptBytes);
  } catch (error) {
    if (error instanceof UserError) return atKey({ code, message: error.message });
    throw error;
  }
  if (bytes === undefined) return atKey({ code, message: `there is no file ${file}` });
  const script = checkRuntimeScript(posix.join(posix.dirname(parsed.document.file), file), bytes);
  if (script.faults.length > 0 || (await source.isExecutable(file))) return script;
  return atKey({
    code: appFileCodes.advice,
    message: `${file} is not executable; it is run all the same`,
    hint: `git update-index --chmod=+x ${file}`,
    severity: 'warning',
  });
}
