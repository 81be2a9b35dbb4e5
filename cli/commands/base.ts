import type { Command } from 'commander';
import type { CatalogEntry } from '../../builder/catalog/catalog.ts';
import type { Digest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import type { Reader } from '../../oci/registry.ts';
import { catalogFolders, catalogOption, readCatalog } from '../catalog-folders.ts';
import type { CliContext } from '../context.ts';
import { withServerRegistry } from '../server-registry.ts';
import { toJson } from '../text.ts';
import { registerBaseBuild } from './base-build.ts';
import { registerBaseLint } from './base-lint.ts';
import { registerBaseMirror } from './base-mirror.ts';
import { registerBasePlan } from './base-plan.ts';
import { registerBaseRebase } from './base-rebase.ts';

interface BaseFlags {
  readonly server?: string;
  readonly json?: boolean;
  readonly catalog?: readonly string[];
}

/** `base ls | tree | lint | build …` */
export function registerBase(program: Command, context: CliContext): void {
  const base = program.command('base').description('the catalog of base images');
  registerBaseLists(base, context);
  registerBaseBuild(base, context);
  registerBaseLint(base, context);
  registerBaseMirror(base, context);
  registerBasePlan(base, context);
  registerBaseRebase(base, context);
}

function registerBaseLists(base: Command, context: CliContext): void {
  const json = ['--json', 'print JSON'] as const;
  const entriesOf = async (flags: BaseFlags): Promise<readonly CatalogEntry[]> =>
    (await readCatalog(context, await catalogFolders(context, flags.catalog))).entries;

  base
    .command('ls')
    .description('list the catalog, and what of it the server has')
    .option(...catalogOption)
    .option('--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)')
    .option(...json)
    .action((flags: BaseFlags) =>
      withServerRegistry(context, flags.server, async (registry) => {
        const entries = await entriesOf(flags);
        const rows = await Promise.all(
          entries.map(async (entry) => describe(entry, await digestOn(registry, entry))),
        );
        context.stdout(flags.json === true ? toJson(rows) : toTable(rows));
      }),
    );

  base
    .command('tree')
    .description('show which entry stands on which')
    .option(...catalogOption)
    .option(...json)
    .action(async (flags: BaseFlags) => {
      const entries = await entriesOf(flags);
      const rows = entries.map((entry) => describe(entry, undefined));
      context.stdout(flags.json === true ? toJson(rows) : toTree(entries));
    });
}

/** Undefined = not there. */
async function digestOn(registry: Reader, entry: CatalogEntry): Promise<Digest | undefined> {
  try {
    return (await registry.resolveManifest(entry.repository, entry.file.channels[0] ?? '')).digest;
  } catch (error) {
    if (isOciError(error, 'MANIFEST_UNKNOWN') || isOciError(error, 'NAME_UNKNOWN')) return undefined;
    throw error;
  }
}

interface Row {
  readonly name: string;
  readonly version: string;
  readonly channels: readonly string[];
  readonly parent?: string;
  readonly untested?: string;
  readonly digest?: Digest;
}

function describe(entry: CatalogEntry, digest: Digest | undefined): Row {
  const { name, version, channels, parent, untested } = entry.file;
  return {
    name,
    version,
    channels,
    ...(parent === undefined ? {} : { parent }),
    ...(untested === undefined ? {} : { untested }),
    ...(digest === undefined ? {} : { digest }),
  };
}

function toTable(rows: readonly Row[]): string {
  return rows
    .map(({ name, version, channels, parent, untested, digest }) => {
      const on = parent === undefined ? '' : `on ${parent}`;
      const columns = [name.padEnd(16), version.padEnd(10), channels.join(',').padEnd(14), on.padEnd(14)];
      return `${columns.join('  ')}  ${digest ?? (untested === undefined ? 'not built' : 'untested')}\n`;
    })
    .join('');
}

function toTree(entries: readonly CatalogEntry[]): string {
  const lines: string[] = [];
  const add = (parent: string | undefined, indent: string): void => {
    for (const { id, file, parent: own } of entries) {
      if (own !== parent) continue;
      lines.push(`${indent}${id} (${file.version}${file.untested === undefined ? '' : ', untested'})\n`);
      add(id, `${indent}  `);
    }
  };
  add(undefined, '');
  return lines.join('');
}
