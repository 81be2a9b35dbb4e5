import type { Command } from 'commander';
import { UserError } from '../../core/user-error.ts';
import type { DeletedRepository } from '../../registry/http/repository-routes.ts';
import { ask, isTerminal } from '../ask.ts';
import type { CliContext } from '../context.ts';
import { openServerApi } from '../server-api.ts';
import { parseServerReference, withServerRegistry } from '../server-registry.ts';

interface RemoveFlags {
  readonly server?: string;
  readonly yes?: boolean;
}

/** `images rm REF|REPO` */
export function registerImagesRemove(images: Command, context: CliContext): void {
  images
    .command('rm <reference>')
    .description(
      'delete a tag (REPO:TAG), a manifest with every tag that points at it (REPO@DIGEST), or a whole repository (REPO)',
    )
    .option('--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)')
    .option('--yes', 'delete a whole repository without asking')
    .action(async (text: string, flags: RemoveFlags) => {
      const { repository, tag, digest } = parseServerReference(context, text, flags.server);
      if (tag === undefined && digest === undefined) {
        const manifests = await removeRepository(context, repository, flags);
        context.stderr(
          `deleted ${repository} with ${manifests} ${manifests === 1 ? 'manifest' : 'manifests'}\n`,
        );
        return;
      }
      await withServerRegistry(context, flags.server, async (registry) => {
        if (digest !== undefined) await registry.deleteManifest(repository, digest);
        else await registry.deleteTag(repository, tag ?? '');
      });
      context.stderr(`deleted ${text}\n`);
    });
}

/** Manifests that were deleted. Errors: UserError. */
async function removeRepository(
  context: CliContext,
  repository: string,
  flags: RemoveFlags,
): Promise<number> {
  if (flags.yes !== true) await confirm(context, repository);
  const api = await openServerApi(context, flags.server);
  let manifests = 0;
  for (;;) {
    const result = await api.call<DeletedRepository>('DELETE', `/api/v1/repositories/${repository}`);
    manifests += result.manifests;
    if (result.done) return manifests;
    context.stderr(`${manifests} manifests deleted so far\n`);
  }
}

/** Errors: UserError when the answer is another one, or there is nobody to ask. */
async function confirm(context: CliContext, repository: string): Promise<void> {
  if (!isTerminal(context)) {
    throw new UserError(
      `say --yes to delete the repository ${repository} with all of its images, or which image of it: ${repository}:TAG or ${repository}@DIGEST`,
      { exitCode: 2 },
    );
  }
  const question = `This deletes every image of ${repository}. Type its name to go on`;
  if ((await ask(context, question)) !== repository) throw new UserError('nothing was deleted');
}
