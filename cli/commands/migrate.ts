import { renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Command } from 'commander';
import { migrateAppFile } from '../../builder/appfile/migrate-appfile.ts';
import { formatFaults } from '../../core/document/format-faults.ts';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';
import { readAppFileBytes } from './appfile-input.ts';

interface MigrateOptions {
  readonly write?: boolean;
}

/** `migrate [FILE|DIR]`: an app.yaml of Eru as App.yaml v1 with its comments, on stdout or in place of the file. What became of keys without a place in v1 goes to stderr. */
export function registerMigrate(program: Command, context: CliContext): void {
  program
    .command('migrate [path]')
    .description('rewrite an app.yaml of Eru as App.yaml v1, with its comments')
    .option('--write', 'replace the file instead of printing')
    .action((path: string | undefined, options: MigrateOptions) => {
      const { shown, file, directory, bytes } = readAppFileBytes(context, path);
      const { format, text, faults, document } = migrateAppFile(shown, bytes, {
        defaultAppName: basename(directory),
      });
      context.stderr(formatFaults(faults, document));
      if (text === undefined) throw new UserError(`${shown} is not rewritten: mend the errors first`);
      if (options.write !== true) {
        context.stdout(text);
        return;
      }
      if (format === 'v1') {
        context.stderr(`${shown} is v1 already\n`);
        return;
      }
      replace(file, text);
      context.stderr(`${shown}: ${format} → v1\n`);
    });
}

/** Whole or not at all: a full disk may not cost somebody the file. */
function replace(file: string, text: string): void {
  const staging = `${file}.brickyard-${process.pid}`;
  try {
    writeFileSync(staging, text, { mode: statSync(file).mode & 0o777, flag: 'wx' });
    renameSync(staging, file);
  } catch (error) {
    rmSync(staging, { force: true });
    throw new UserError(`cannot write ${file}: ${(error as Error).message}`, { cause: error });
  }
}
