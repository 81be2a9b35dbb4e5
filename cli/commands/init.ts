import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { findAppFile, parseAppFile } from '../../builder/appfile/parse-appfile.ts';
import { type Proposal, proposeAppFile } from '../../builder/appfile/propose.ts';
import { loadCatalog } from '../../builder/catalog/load-catalog.ts';
import { UserError } from '../../core/user-error.ts';
import { shippedCatalog } from '../catalog-folders.ts';
import type { CliContext } from '../context.ts';

interface InitOptions {
  readonly print?: boolean;
  readonly json?: boolean;
}

/** `init [DIR]`: looks at a project and writes the App.yaml it proposes. Never overwrites one. */
export function registerInit(program: Command, context: CliContext): void {
  program
    .command('init [dir]')
    .description('look at a project and propose its App.yaml')
    .option('--print', 'print it instead of writing the file')
    .option('--json', 'print {text, project} as JSON; writes nothing')
    .action(async (dir: string | undefined, options: InitOptions) => {
      const directory = resolve(context.cwd, dir ?? '.');
      const proposal = propose(directory);
      if (options.json === true) {
        context.stdout(`${JSON.stringify(proposal)}\n`);
        return;
      }
      if (options.print === true) {
        context.stdout(proposal.text);
        return;
      }
      const existing = findAppFile(readdirSync(directory));
      if (existing !== undefined) {
        throw new UserError(
          `there is an ${existing.name} already; "brickyard init --print" shows what would be proposed`,
        );
      }
      const file = join(directory, 'App.yaml');
      writeFileSync(file, proposal.text, { flag: 'wx' });
      context.stdout(proposal.text);
      context.stderr(`written to ${file}; check it, then commit and push\n`);
      await sayMissingBase(context, proposal.text);
    });
}

/** The proposal names what such a project needs, which need not be among the base images that ship. */
async function sayMissingBase(context: CliContext, text: string): Promise<void> {
  const base = parseAppFile('App.yaml', Buffer.from(text), {}).appfile?.base;
  const { entries } = await loadCatalog(shippedCatalog());
  if (base === undefined || entries.some(({ file }) => file.name === base.split(':', 1)[0])) return;
  const shipped = [...new Set(entries.map(({ file }) => file.name))].join(', ');
  context.stderr(
    `note: ${base} is not among the base images that come with brickyard (${shipped}): it has to be in your server's catalog\n`,
  );
}

function propose(directory: string): Proposal {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    throw new UserError(`cannot read ${directory}: ${(error as Error).message}`, {
      cause: error,
      exitCode: 2,
    });
  }
  const read = (name: string): string | undefined => {
    const path = join(directory, name);
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat?.isFile() === true && stat.size <= 1024 * 1024 ? readFileSync(path, 'utf8') : undefined;
  };
  return proposeAppFile({ names, read }, basename(directory));
}
