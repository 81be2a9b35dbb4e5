import { relative, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { type LintedFile, lintCatalog } from '../../builder/catalog/lint-catalog.ts';
import { type FaultFormat, formatFaults } from '../../core/document/format-faults.ts';
import { UserError } from '../../core/user-error.ts';
import { catalogFolders, shippedCatalog } from '../catalog-folders.ts';
import { shippedWord } from '../catalog-words.ts';
import type { CliContext } from '../context.ts';

interface LintFlags {
  readonly format: FaultFormat;
  readonly json?: boolean;
}

/** `base lint [DIR…]`: what is wrong with a catalog. Faults are the result, so they go to stdout; exit code 1 when one is an error. */
export function registerBaseLint(base: Command, context: CliContext): void {
  base
    .command('lint [dirs...]')
    .description(
      `check a catalog (default: builder.catalog, else the one that ships); give "${shippedWord}" before a folder that stands on it`,
    )
    .addOption(
      new Option('--format <format>', 'how to print faults')
        .choices(['text', 'json', 'github'])
        .default('text'),
    )
    .option('--json', 'same as --format json')
    .action(async (dirs: string[], flags: LintFlags) => {
      const folders = await catalogFolders(context, dirs.length === 0 ? undefined : dirs);
      const { entries, files } = await lintCatalog(folders);
      const format = flags.json === true ? 'json' : flags.format;
      const color = context.env['FORCE_COLOR'] !== undefined && context.env['NO_COLOR'] === undefined;
      if (format === 'json') {
        const shown = files.map(({ document, faults }) => ({ file: document.file, faults }));
        context.stdout(`${JSON.stringify({ entries, files: shown }, undefined, 2)}\n`);
      } else {
        for (const { document, faults } of files) {
          context.stdout(formatFaults(faults, shownFrom(context.cwd, document), format, { color }));
        }
      }
      const errors = files
        .flatMap(({ faults }) => faults)
        .filter(({ severity }) => severity === 'error').length;
      const where = folders.map((folder) => (folder === shippedCatalog() ? shippedWord : folder)).join(', ');
      if (errors > 0) throw new UserError(`${where}: ${errors} ${errors === 1 ? 'error' : 'errors'}`);
      if (entries === 0) throw new UserError(`there is no base.yaml below ${where}`);
      if (format === 'text') context.stderr(`${where}: ${entries} entries, no errors\n`);
    });
}

/** Paths below where somebody stands are shorter, and what editors and GitHub can open. */
function shownFrom(cwd: string, document: LintedFile['document']): LintedFile['document'] {
  const path = relative(cwd, resolve(cwd, document.file));
  return path.startsWith('..') ? document : { file: path, text: document.text };
}
