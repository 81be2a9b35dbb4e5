import { posix } from 'node:path';
import type { DocumentFault, SourceDocument } from '../../core/document/document.ts';
import { UserError } from '../../core/user-error.ts';
import type { AppFileResult } from '../appfile/appfile.ts';
import { appFileCodes } from '../appfile/codes.ts';

/** A script that runs at each start has no reason to be larger. */
export const maxRuntimeScriptBytes = 1024 * 1024;

/** A runtime script with its faults; see `formatFaults`. */
export interface RuntimeScript {
  readonly document: Pick<SourceDocument, 'file' | 'text'>;
  readonly faults: readonly DocumentFault[];
}

/**
 * Why a runtime script would fail, or do something else than it says, at each start of a container. That it is not executable
 * is no fault: images hold it as mode 0755. All faults are errors.
 */
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
    fail(1, 1, 1, 'the runtime script is not UTF-8 text', 'let a script start the program');
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
    fail(nul + 1, column, 1, 'the runtime script holds a NUL byte', 'it has to be text');
  }
  return { document: { file, text }, faults };
}

/**
 * Reads and checks the script that `runtime:` names: its faults have places of their own, and a missing one is a fault of App.yaml.
 * Undefined: none is named, or it is fine.
 */
export async function lintRuntimeScript(
  parsed: AppFileResult,
  readFile: (path: string, limit: number) => Promise<Uint8Array | undefined>,
): Promise<RuntimeScript | undefined> {
  const file = parsed.appfile?.runtime;
  if (file === undefined) return undefined;
  const atKey = (message: string): RuntimeScript => ({
    document: parsed.document,
    faults: [parsed.locate(['runtime'], { code: appFileCodes.runtimeScript, message })],
  });
  let bytes: Uint8Array | undefined;
  try {
    bytes = await readFile(file, maxRuntimeScriptBytes);
  } catch (error) {
    if (error instanceof UserError) return atKey(error.message);
    throw error;
  }
  if (bytes === undefined) return atKey(`there is no file ${file}`);
  const script = checkRuntimeScript(posix.join(posix.dirname(parsed.document.file), file), bytes);
  return script.faults.length === 0 ? undefined : script;
}
