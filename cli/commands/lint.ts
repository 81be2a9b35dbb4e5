import { type Command, Option } from 'commander';
import { hasErrors } from '../../core/document/document.ts';
import { type FaultFormat, formatFaults } from '../../core/document/format-faults.ts';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';
import { readAppFileInput } from './appfile-input.ts';

interface LintOptions {
  readonly format: FaultFormat;
  readonly json?: boolean;
}

/** `lint [FILE|DIR]`: what is wrong with an App.yaml. Faults are the result, so they go to stdout; exit code 1 when one is an error. */
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
    .action((path: string | undefined, options: LintOptions) => {
      const { result } = readAppFileInput(context, path);
      const { faults, document } = result;
      const format = options.json === true ? 'json' : options.format;
      const color = context.env['FORCE_COLOR'] !== undefined && context.env['NO_COLOR'] === undefined;
      context.stdout(formatFaults(faults, document, format, { color }));
      const errors = faults.filter((fault) => fault.severity === 'error').length;
      if (hasErrors(faults))
        throw new UserError(`${document.file}: ${errors} ${errors === 1 ? 'error' : 'errors'}`);
      if (format === 'text') context.stderr(`${document.file}: no errors\n`);
    });
}
