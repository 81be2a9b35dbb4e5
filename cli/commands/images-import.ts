import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { UserError } from '../../core/user-error.ts';
import { copyRepositories } from '../../oci/copy/copy-repositories.ts';
import type { CliContext } from '../context.ts';
import { showCopy } from '../copy-progress.ts';
import { explainCopy, finishReport } from '../copy-report.ts';
import { serverUrl } from '../credentials.ts';
import { openRegistryAt } from '../image-place.ts';
import { type ImportSource, openImportSource } from '../import/import-source.ts';
import { parseRepositoryChoice } from '../import/repository-choice.ts';
import { withoutControls } from '../text.ts';
import { untilInterrupted } from '../until-interrupted.ts';
import { parseCount } from './images-copy.ts';

interface ImportFlags {
  readonly server?: string;
  readonly prefix?: string;
  readonly repositories?: string;
  readonly untagged?: boolean;
  readonly keepTags?: boolean;
  readonly referrers: boolean;
  readonly checkBlobs?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly parallel: number;
  readonly tokenHost?: readonly string[];
}

/** `images import SRC` */
export function registerImagesImport(images: Command, context: CliContext): void {
  images
    .command('import <source>')
    .description(
      "adopt a docker-registry's storage folder, or all of another registry (https://host[/prefix])",
    )
    .option('--server <url>', 'server to import into (default: BRICKYARD_SERVER or this machine)')
    .option('--prefix <prefix>', 'put in front of every repository, such as team/')
    .option('--repositories <list>', 'only these: names or patterns (team/*) with commas between, or @FILE')
    .option('--untagged', 'manifests without a tag too (storage folder only)')
    .option('--keep-tags', 'leave tags as they are that the server has with another digest')
    .option('--no-referrers', 'leave signatures and other referrers without a tag behind')
    .option(
      '--check-blobs',
      'look for every blob of images that are there already too, and bring what they lack',
    )
    .option('--dry-run', 'look, and say what would be copied')
    .option('--json', 'print JSON')
    .option('--parallel <n>', 'images, and blobs, on their way at the same time', parseCount, 4)
    .option('--token-host <host...>', 'further hosts whose token service may be sent the password')
    .action((source: string, flags: ImportFlags) => importImages(context, source, flags));
}

async function importImages(context: CliContext, written: string, flags: ImportFlags): Promise<void> {
  const url = serverUrl(context, flags.server);
  const prefix = checkPrefix(flags.prefix ?? '');
  const choice = parseRepositoryChoice(await readList(context, flags.repositories));
  const target = await openRegistryAt(context, url);
  let source: ImportSource | undefined;
  try {
    source = await openImportSource(context, written, {
      choice,
      tokenHosts: flags.tokenHost ?? [],
      onNotice: (notice) => context.stderr(`note: ${withoutControls(notice)}\n`),
    });
    if (source.url === url && prefix === '') {
      throw new UserError(
        `${url} is what would be imported into itself; name another server, or a --prefix`,
        {
          exitCode: 2,
        },
      );
    }
    if (flags.untagged === true && source.listManifests === undefined) {
      throw new UserError('a registry does not tell what has no tag: --untagged needs its storage folder', {
        exitCode: 2,
      });
    }
    await run(context, source, { registry: target, url }, prefix, flags);
  } finally {
    source?.close();
    target.close();
  }
}

async function run(
  context: CliContext,
  source: ImportSource,
  target: { readonly registry: Awaited<ReturnType<typeof openRegistryAt>>; readonly url: string },
  prefix: string,
  flags: ImportFlags,
): Promise<void> {
  const sides = { source: source.name, target: target.url };
  const { listManifests } = source;
  try {
    await untilInterrupted(async (signal) => {
      const names = await source.listRepositories();
      const shown = showCopy(context, { repositories: names.length });
      const report = await copyRepositories({
        source: source.registry,
        target: target.registry,
        sameRegistry: source.url === target.url,
        repositories: names.map((name) => ({ from: name, to: prefix + name })),
        referrers: flags.referrers,
        parallel: flags.parallel,
        images: flags.parallel,
        keepTags: flags.keepTags === true,
        dryRun: flags.dryRun === true,
        checkBlobs: flags.checkBlobs === true,
        signal,
        onProgress: shown.onProgress,
        onRepository: shown.onRepository,
        ...(flags.untagged === true && listManifests !== undefined ? { listManifests } : {}),
      }).finally(() => shown.close());
      finishReport(report, sides, context, { json: flags.json === true, dryRun: flags.dryRun === true });
    });
  } catch (error) {
    throw explainCopy(error, sides);
  }
}

/** Errors: UserError. */
function checkPrefix(prefix: string): string {
  if (prefix === '' || /^(?:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\/)+$/.test(prefix)) return prefix;
  throw new UserError(`"${prefix}" is no prefix, such as team/ (it ends with a slash)`, { exitCode: 2 });
}

/** The list itself, or the lines of `@FILE`. Undefined = not given. Errors: UserError. */
async function readList(context: CliContext, option: string | undefined): Promise<string | undefined> {
  if (option === undefined || !option.startsWith('@')) return option;
  const file = resolve(context.cwd, option.slice(1));
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new UserError(`cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}
