import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { baseImageCache, buildBaseImages } from '../../builder/catalog/build-base-images.ts';
import { type CatalogEntry, catalogFaultsError, loadCatalog } from '../../builder/catalog/catalog.ts';
import { UserError } from '../../core/user-error.ts';
import type { Digest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import type { Reader } from '../../oci/registry.ts';
import { showBaseImages } from '../base-image-progress.ts';
import { readConfig } from '../config.ts';
import type { CliContext } from '../context.ts';
import { createProgress, lineProgress, type Progress } from '../progress.ts';
import { withServerRegistry } from '../server-registry.ts';
import { formatBytes } from '../text.ts';

interface BaseFlags {
  readonly server?: string;
  readonly json?: boolean;
  readonly catalog?: string;
  readonly update?: boolean;
}

/** `base ls | tree | build [NAME…]` */
export function registerBase(program: Command, context: CliContext): void {
  const base = program.command('base').description('the catalog of base images');
  const server = ['--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)'] as const;
  const json = ['--json', 'print JSON'] as const;
  const catalog = [
    '--catalog <dir>',
    'folder with one <name>/base.yaml each (default: builder.catalog, else the one that ships)',
  ] as const;

  base
    .command('ls')
    .description('list the catalog, and what of it the server has')
    .option(...catalog)
    .option(...server)
    .option(...json)
    .action((flags: BaseFlags) =>
      withServerRegistry(context, flags.server, async (registry) => {
        const entries = await readEntries(context, flags);
        const rows = await Promise.all(
          entries.map(async (entry) => describe(entry, await digestOn(registry, entry))),
        );
        context.stdout(flags.json === true ? toJson(rows) : toTable(rows));
      }),
    );

  base
    .command('tree')
    .description('show which entry stands on which')
    .option(...catalog)
    .option(...json)
    .action(async (flags: BaseFlags) => {
      const entries = await readEntries(context, flags);
      const rows = entries.map((entry) => describe(entry, undefined));
      context.stdout(flags.json === true ? toJson(rows) : toTree(entries));
    });

  base
    .command('build [names...]')
    .description('build entries of the catalog with their parents, where something changed (default: all)')
    .option('--update', 'look for newer packages also where the catalog is unchanged')
    .option(...catalog)
    .option(...server)
    .option(...json)
    .action((names: string[], flags: BaseFlags) =>
      withServerRegistry(context, flags.server, async (registry) => {
        const progress = openProgress(context);
        try {
          const built = await buildBaseImages({
            catalogDir: catalogDirectory(context, flags),
            // `nodejs:26` is how App.yaml writes it.
            ...(names.length === 0 ? {} : { names: names.map((name) => name.split(':', 1)[0] ?? '') }),
            registry,
            cacheDir: baseImageCache(cacheRoot(context)),
            update: flags.update === true,
            onProgress: showBaseImages(progress),
          });
          progress.close();
          if (flags.json === true) context.stdout(toJson(built));
          for (const image of flags.json === true ? [] : built) {
            const outcome = image.built ? `built, ${formatBytes(image.layerBytes)} stored` : 'unchanged';
            context.stdout(`${image.repository}:${image.tags[0]}  ${image.digest}  ${outcome}\n`);
          }
        } finally {
          progress.close();
        }
      }),
    );
}

/** The catalog that ships: beside the sources, or beside `dist/` in the published package. */
export function shippedCatalog(): string {
  for (let folder = import.meta.dirname; ; ) {
    const candidate = join(folder, 'baseimages');
    if (existsSync(candidate)) return candidate;
    const above = resolve(folder, '..');
    if (above === folder)
      throw new UserError('the catalog that ships with brickyard is missing: name one with --catalog');
    folder = above;
  }
}

function catalogDirectory(context: CliContext, flags: BaseFlags): string {
  if (flags.catalog !== undefined) return resolve(context.cwd, flags.catalog);
  return readConfig({ env: context.env, cwd: context.cwd }).builder.catalog ?? shippedCatalog();
}

/** The XDG base directory specification's place for what can be fetched again. */
function cacheRoot(context: CliContext): string {
  const set = context.env.XDG_CACHE_HOME;
  return join(set === undefined || set === '' ? join(homedir(), '.cache') : set, 'brickyard');
}

async function readEntries(context: CliContext, flags: BaseFlags): Promise<readonly CatalogEntry[]> {
  const directory = catalogDirectory(context, flags);
  const catalog = await loadCatalog(directory);
  if (catalog.entries.length === 0) throw catalogFaultsError(catalog, directory);
  return catalog.entries;
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
  readonly digest?: Digest;
}

function describe(entry: CatalogEntry, digest: Digest | undefined): Row {
  const { name, version, channels, parent } = entry.file;
  return {
    name,
    version,
    channels,
    ...(parent === undefined ? {} : { parent }),
    ...(digest === undefined ? {} : { digest }),
  };
}

function toTable(rows: readonly Row[]): string {
  return rows
    .map(({ name, version, channels, parent, digest }) => {
      const on = parent === undefined ? '' : `on ${parent}`;
      const columns = [name.padEnd(16), version.padEnd(10), channels.join(',').padEnd(14), on.padEnd(14)];
      return `${columns.join('  ')}  ${digest ?? 'not built'}\n`;
    })
    .join('');
}

function toTree(entries: readonly CatalogEntry[]): string {
  const lines: string[] = [];
  const add = (parent: string | undefined, indent: string): void => {
    for (const entry of entries.filter((each) => each.parent === parent)) {
      lines.push(`${indent}${entry.file.name}:${entry.file.channels[0]} (${entry.file.version})\n`);
      add(entry.file.name, `${indent}  `);
    }
  };
  add(undefined, '');
  return lines.join('');
}

function openProgress(context: CliContext): Progress {
  return process.stderr.isTTY
    ? createProgress(process.stderr)
    : lineProgress((line) => context.stderr(`${line}\n`));
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
