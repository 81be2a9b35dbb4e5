import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { missingBaseFault } from '../../builder/appfile/missing-base.ts';
import { lintRuntimeScript, type RuntimeScript } from '../../builder/plan/runtime-script.ts';
import { hasErrors } from '../../core/document/document.ts';
import { type FaultFormat, formatFaults } from '../../core/document/format-faults.ts';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';
import { defaultBaseOf, defaultBaseOption, readAppFileInput } from './appfile-input.ts';

interface LintOptions {
  readonly format: FaultFormat;
  readonly json?: boolean;
  readonly defaultBase?: string;
}

/** `lint [FILE|DIR]`: what is wrong with an App.yaml and the runtime script that it names. Faults are the result, so they go to stdout; exit code 1 when one is an error. */
export function registerLint(program: Command, context: CliContext): void {
  program
    .command('lint [path]')
    .description('check an App.yaml (default: the one in this directory)')
    .addOption(
      new Option('--format <format>', 'how to print faults')
        .choices(['text', 'json', 'github'])
        .default('text'),
    )
    .option('--json', 'same as --format json')
    .addOption(defaultBaseOption())
    .action(async (path: string | undefined, options: LintOptions) => {
      const { result, directory, names } = readAppFileInput(context, path);
      const script = await lintRuntimeScript(result, (name, limit) =>
        readScript(join(directory, name), limit),
      );
      const ofScript = script === undefined || script.document === result.document ? undefined : script;
      const defaultBase = defaultBaseOf(context, options);
      const base = defaultBase === undefined ? missingBaseFault(result, names) : undefined;
      const faults = [
        ...result.faults,
        ...(base === undefined ? [] : [base]),
        ...(ofScript === undefined ? (script?.faults ?? []) : []),
      ];
      const { document } = result;
      const format = options.json === true ? 'json' : options.format;
      const color = context.env['FORCE_COLOR'] !== undefined && context.env['NO_COLOR'] === undefined;
      if (format === 'json') {
        const others = ofScript === undefined ? {} : { others: [toJson(ofScript)] };
        context.stdout(`${JSON.stringify({ ...toJson({ document, faults }), ...others }, undefined, 2)}\n`);
      } else {
        context.stdout(formatFaults(faults, document, format, { color }));
        if (ofScript !== undefined)
          context.stdout(formatFaults(ofScript.faults, ofScript.document, format, { color }));
      }
      const all = [...faults, ...(ofScript?.faults ?? [])];
      const errors = all.filter((fault) => fault.severity === 'error').length;
      if (hasErrors(all))
        throw new UserError(`${document.file}: ${errors} ${errors === 1 ? 'error' : 'errors'}`);
      if (format === 'text') context.stderr(`${document.file}: no errors\n`);
    });
}

function toJson({ document, faults }: RuntimeScript): { file: string; faults: RuntimeScript['faults'] } {
  return { file: document.file, faults };
}

/** Undefined = no regular file. Errors: UserError when it is larger than `limit` bytes. */
async function readScript(path: string, limit: number): Promise<Uint8Array | undefined> {
  const info = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (info?.isFile() !== true) return undefined;
  if (info.size > limit) throw new UserError(`${path} is larger than ${limit} bytes`);
  return readFile(path);
}
