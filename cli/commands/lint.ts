import { statSync } from 'node:fs';
import { lstat, readFile, stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { missingBaseFault } from '../../builder/appfile/missing-base.ts';
import { lintScripts, type RuntimeScript } from '../../builder/plan/runtime-script.ts';
import { maxIgnoreFileBytes } from '../../builder/plan/select-source.ts';
import { sourceFaults } from '../../builder/plan/source-faults.ts';
import { hasErrors } from '../../core/document/document.ts';
import { type FaultFormat, formatFaults } from '../../core/document/format-faults.ts';
import { UserError } from '../../core/user-error.ts';
import { findAppFolders } from '../appfile-folders.ts';
import type { CliContext } from '../context.ts';
import { findOddFiles } from '../odd-files.ts';
import { defaultBaseOf, defaultBaseOption, readAppFileInput } from './appfile-input.ts';

interface LintOptions {
  readonly format: FaultFormat;
  readonly json?: boolean;
  readonly defaultBase?: string;
}

/**
 * `lint [FILE|DIR]`: what is wrong with an App.yaml, the scripts that it names and the files beside it; of a folder, also with the App.yaml in its
 * folders. Faults are the result, so they go to stdout; exit code 1 when one is an error.
 */
export function registerLint(program: Command, context: CliContext): void {
  program
    .command('lint [path]')
    .description('check an App.yaml (default: the one in this directory, and those in its folders)')
    .addOption(
      new Option('--format <format>', 'how to print faults')
        .choices(['text', 'json', 'github'])
        .default('text'),
    )
    .option('--json', 'same as --format json')
    .addOption(defaultBaseOption())
    .action(async (path: string | undefined, options: LintOptions) => {
      const checked: RuntimeScript[] = [];
      for (const place of placesOf(context, path)) checked.push(...(await lintOne(context, place, options)));
      const format = options.json === true ? 'json' : options.format;
      const color = context.env['FORCE_COLOR'] !== undefined && context.env['NO_COLOR'] === undefined;
      const [first, ...others] = checked;
      if (format === 'json') {
        const more = others.length === 0 ? {} : { others: others.map(toJson) };
        context.stdout(`${JSON.stringify({ ...toJson(first as RuntimeScript), ...more }, undefined, 2)}\n`);
      } else {
        for (const { document, faults } of checked)
          context.stdout(formatFaults(faults, document, format, { color }));
      }
      const all = checked.flatMap(({ faults }) => faults);
      const errors = all.filter((fault) => fault.severity === 'error').length;
      const name = first?.document.file ?? '';
      if (hasErrors(all)) throw new UserError(`${name}: ${errors} ${errors === 1 ? 'error' : 'errors'}`);
      if (format === 'text')
        for (const { document } of checked) context.stderr(`${document.file}: no errors\n`);
    });
}

/** What `lint` is pointed at: one App.yaml, or those of a folder. */
function placesOf(context: CliContext, path: string | undefined): readonly (string | undefined)[] {
  const folder = resolve(context.cwd, path ?? '.');
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) return [path];
  const found = findAppFolders(folder);
  if (found.length === 0) return [path];
  return found.map((directory) =>
    directory === '' ? path : relative(context.cwd, join(folder, directory)) || undefined,
  );
}

/** The App.yaml with all that concerns it, and its script where that has faults of its own. */
async function lintOne(
  context: CliContext,
  path: string | undefined,
  options: LintOptions,
): Promise<readonly RuntimeScript[]> {
  const { result, directory, names } = readAppFileInput(context, path);
  const read = (name: string, limit: number): Promise<Uint8Array | undefined> =>
    readRegularFile(join(directory, name), limit);
  const scripts = await lintScripts(result, {
    readFile: read,
    isExecutable: async (name) => ((await stat(join(directory, name))).mode & 0o100) !== 0,
  });
  const isOwn = ({ document }: RuntimeScript): boolean => document !== result.document;
  const base = defaultBaseOf(context, options) === undefined ? missingBaseFault(result, names) : undefined;
  const ignore = await read('.dockerignore', maxIgnoreFileBytes);
  const odd = await findOddFiles(context, directory);
  const faults = [
    ...result.faults,
    ...(base === undefined ? [] : [base]),
    ...scripts.filter((script) => !isOwn(script)).flatMap(({ faults: found }) => found),
    ...sourceFaults(result, odd, ignore === undefined ? undefined : Buffer.from(ignore).toString()),
  ];
  return [{ document: result.document, faults }, ...scripts.filter(isOwn)];
}

function toJson({ document, faults }: RuntimeScript): { file: string; faults: RuntimeScript['faults'] } {
  return { file: document.file, faults };
}

/** Undefined = no regular file. Errors: UserError when it is larger than `limit` bytes. */
async function readRegularFile(path: string, limit: number): Promise<Uint8Array | undefined> {
  const info = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (info?.isFile() !== true) return undefined;
  if (info.size > limit) throw new UserError(`${path} is larger than ${limit} bytes`);
  return readFile(path);
}
