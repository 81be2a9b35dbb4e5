import type { Command } from 'commander';
import { UserError } from '../../core/user-error.ts';
import { isDigest } from '../../oci/digest.ts';
import { isTag } from '../../oci/reference.ts';
import type { PromotionView } from '../../registry/http/promotion-routes.ts';
import type { CliContext } from '../context.ts';
import { openServerApi } from '../server-api.ts';
import { parseServerReference } from '../server-registry.ts';
import { toJson, withoutControls } from '../text.ts';

interface PromoteFlags {
  readonly server?: string;
  readonly replaces?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** `images promote REF TAG`: the digest goes to stdout, what happened to stderr. */
export function registerImagesPromote(images: Command, context: CliContext): void {
  images
    .command('promote <reference> <tag>')
    .description('move a tag to an image that is there, its bytes unchanged: promote team/app:rc prod')
    .option('--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)')
    .option(
      '--replaces <digest>',
      'only while the tag names this digest ("none": while there is no such tag)',
    )
    .option('--dry-run', 'say what would happen, and whether the rules allow it')
    .option('--json', 'print JSON')
    .action(async (text: string, tag: string, flags: PromoteFlags) => {
      const { repository, tag: from, digest } = parseServerReference(context, text, flags.server);
      const target = targetOf(context, repository, tag, flags.server);
      const api = await openServerApi(context, flags.server);
      const done = await api.call<PromotionView>('POST', '/api/v1/promotions', {
        source: { repository, reference: digest ?? from ?? 'latest' },
        target,
        ...replacesOf(flags.replaces),
        ...(flags.dryRun === true ? { dryRun: true } : {}),
      });
      if (flags.json === true) {
        context.stdout(toJson(done));
        return;
      }
      for (const line of describe(done, flags.dryRun === true)) context.stderr(`${withoutControls(line)}\n`);
      context.stdout(`${done.digest}\n`);
    });
}

/** `prod`, or `team/other:prod`. Errors: UserError. */
function targetOf(
  context: CliContext,
  repository: string,
  text: string,
  server: string | undefined,
): { repository: string; tag: string } {
  if (isTag(text)) return { repository, tag: text };
  const { repository: other, tag, digest } = parseServerReference(context, text, server);
  if (tag !== undefined && digest === undefined) return { repository: other, tag };
  throw new UserError(`"${text}" is no tag, such as prod or team/app:prod`, { exitCode: 2 });
}

function replacesOf(text: string | undefined): { replaces?: string | null } {
  if (text === undefined) return {};
  if (text === 'none') return { replaces: null };
  if (isDigest(text)) return { replaces: text };
  throw new UserError(`--replaces takes a digest, or "none", and not "${text}"`, { exitCode: 2 });
}

function describe(done: PromotionView, dryRun: boolean): readonly string[] {
  const { repository, tag, digest, previous, changed, builds } = done;
  const place = `${repository}:${tag}`;
  if (!changed) return [`${place} is at ${digest} already`];
  const [build] = builds;
  const tests = build?.tested === true ? 'tests passed' : 'without tests';
  const origin = build === undefined ? '' : `  (build ${build.build} of ${build.ref}, ${tests})`;
  return [
    dryRun ? `${place} would move` : `${place} moved`,
    `  to    ${digest}${origin}`,
    `  from  ${previous ?? '(there was no such tag)'}`,
    ...(dryRun || previous === undefined
      ? []
      : [`  undo  brickyard images promote ${repository}@${previous} ${tag} --replaces ${digest}`]),
  ];
}
