import { type Command, InvalidArgumentError } from 'commander';
import { UserError } from '../../core/user-error.ts';
import { parsePlatformName } from '../../oci/copy/choose-platform.ts';
import { type Copier, createCopier } from '../../oci/copy/copier.ts';
import { UnsupportedContent } from '../../oci/copy/copy-fault.ts';
import { copyRepositories } from '../../oci/copy/copy-repositories.ts';
import type { CliContext } from '../context.ts';
import { showCopy } from '../copy-progress.ts';
import { describeCounts, explainCopy, finishReport } from '../copy-report.ts';
import { formatPlace, type ImagePlace, openRegistryAt, parseImagePlace } from '../image-place.ts';
import { untilInterrupted } from '../until-interrupted.ts';

export interface CopyFlags {
  readonly server?: string;
  readonly platform?: string;
  readonly referrers: boolean;
  readonly allTags?: boolean;
  readonly checkBlobs?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly parallel: number;
  readonly tokenHost?: readonly string[];
}

/** `images copy SRC DST` */
export function registerImagesCopy(images: Command, context: CliContext): void {
  images
    .command('copy <source> <target>')
    .description('copy an image, or all tags of a repository, between any two registries')
    .option('--server <url>', 'server of names without a host (default: BRICKYARD_SERVER or this machine)')
    .option('--platform <os/arch>', 'of an index take this one image only (default: the index with all)')
    .option('--no-referrers', 'leave signatures and other referrers behind (default: they come along)')
    .option('--all-tags', 'copy every tag; source and target are repositories')
    .option(
      '--check-blobs',
      'look for every blob of images that are there already too, and bring what they lack',
    )
    .option('--dry-run', 'look, and say what would be copied')
    .option('--json', 'print JSON')
    .option('--parallel <n>', 'blobs on their way at the same time', parseCount, 4)
    .option('--token-host <host...>', 'further hosts whose token service may be sent the password')
    .action((source: string, target: string, flags: CopyFlags) => copy(context, source, target, flags));
}

/** A positive number of an option. Errors: InvalidArgumentError. */
export function parseCount(text: string): number {
  if (/^[1-9][0-9]?$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a number from 1 to 99.');
}

async function copy(context: CliContext, source: string, target: string, flags: CopyFlags): Promise<void> {
  const from = parseImagePlace(context, source, flags.server);
  const to = parseImagePlace(context, target, flags.server);
  checkUsage(from, to, flags);
  const sides = { source: from.url, target: to.url };
  const tokenHosts = flags.tokenHost ?? [];
  const registry = await openRegistryAt(context, from.url, { tokenHosts });
  const other = from.url === to.url ? registry : await openRegistryAt(context, to.url, { tokenHosts });
  const shown = showCopy(context, flags.allTags === true ? { repositories: 1 } : {});
  try {
    await untilInterrupted(async (signal) => {
      const options = {
        source: registry,
        target: other,
        sameRegistry: registry === other,
        referrers: flags.referrers,
        parallel: flags.parallel,
        dryRun: flags.dryRun === true,
        checkBlobs: flags.checkBlobs === true,
        signal,
        onProgress: shown.onProgress,
      };
      if (flags.allTags !== true) {
        await copyOne(context, createCopier(options), from, to, flags, () => shown.close());
        return;
      }
      const repositories = [{ from: from.repository, to: to.repository }];
      const report = await copyRepositories({ ...options, repositories, onRepository: shown.onRepository });
      shown.close();
      finishReport(report, sides, context, { json: flags.json === true, dryRun: flags.dryRun === true });
    });
  } catch (error) {
    shown.close();
    if (error instanceof UnsupportedContent) throw new UserError(error.message, { cause: error });
    throw explainCopy(error, sides);
  } finally {
    registry.close();
    other.close();
  }
}

async function copyOne(
  context: CliContext,
  copier: Copier,
  from: ImagePlace,
  to: ImagePlace,
  flags: CopyFlags,
  closeProgress: () => void,
): Promise<void> {
  const platform = flags.platform === undefined ? undefined : parsePlatformName(flags.platform);
  // Without a tag on either side it is copied by its digest.
  const tag = to.tag ?? from.tag ?? (from.digest === undefined ? 'latest' : undefined);
  const copied = await copier.copyImage({
    from: { repository: from.repository, reference: from.digest ?? from.tag ?? 'latest' },
    to: { repository: to.repository, ...(tag === undefined ? {} : { tag }) },
    companions: true,
    ...(platform === undefined ? {} : { platform }),
  });
  closeProgress();
  const { digest, mediaType, counts, missing } = copied;
  for (const absent of missing)
    context.stderr(`note: copied without ${absent}, which the source does not have\n`);
  const place = formatPlace(to, tag === undefined ? `@${digest}` : `:${tag}`);
  if (flags.json === true) {
    const source = formatPlace(
      from,
      from.digest === undefined ? `:${from.tag ?? 'latest'}` : `@${from.digest}`,
    );
    const body = {
      source,
      target: place,
      digest,
      mediaType,
      dryRun: flags.dryRun === true,
      ...counts,
      missing,
    };
    context.stdout(`${JSON.stringify(body, undefined, 2)}\n`);
    return;
  }
  context.stdout(
    `${flags.dryRun === true ? 'would be: ' : ''}${place}  ${digest}  ${describeCounts(counts)}\n`,
  );
}

function checkUsage(from: ImagePlace, to: ImagePlace, flags: CopyFlags): void {
  const wrong = (text: string): UserError => new UserError(text, { exitCode: 2 });
  if (flags.platform !== undefined && parsePlatformName(flags.platform) === undefined) {
    throw wrong(`"${flags.platform}" is no platform, such as linux/amd64 or linux/arm64/v8`);
  }
  if (to.digest !== undefined)
    throw wrong('the target is a tag or a repository: the digest comes with the image');
  if (flags.allTags !== true) return;
  if (from.tag !== undefined || from.digest !== undefined || to.tag !== undefined) {
    throw wrong('--all-tags copies a repository: leave out tag and digest on both sides');
  }
  if (flags.platform !== undefined) throw wrong('--all-tags copies images whole: leave out --platform');
}
