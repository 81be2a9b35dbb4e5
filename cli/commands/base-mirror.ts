import type { Command } from 'commander';
import { baseImageCache } from '../../builder/catalog/build-base-images.ts';
import { mirrorSources } from '../../builder/catalog/mirror-sources.ts';
import { sourcesRepository } from '../../builder/catalog/sources/kept-sources.ts';
import { UserError } from '../../core/user-error.ts';
import { cacheRoot, catalogFolders, catalogOption, readCatalog } from '../catalog-folders.ts';
import type { CliContext } from '../context.ts';
import { withServerRegistry } from '../server-registry.ts';
import { untilInterrupted } from '../until-interrupted.ts';

interface MirrorFlags {
  readonly server?: string;
  readonly json?: boolean;
  readonly catalog?: readonly string[];
}

/** `base mirror [NAME…]`: keeps what entries are made of on the server. Exit code 1 when something could not be kept. */
export function registerBaseMirror(base: Command, context: CliContext): void {
  base
    .command('mirror [names...]')
    .description('keep all that entries are made of on the server, for "base build --offline" (default: all)')
    .option(...catalogOption)
    .option('--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)')
    .option('--json', 'print JSON')
    .action((names: string[], flags: MirrorFlags) =>
      withServerRegistry(context, flags.server, (registry) =>
        untilInterrupted(async (signal) => {
          const catalogDir = await catalogFolders(context, flags.catalog, { signal });
          await readCatalog(context, catalogDir);
          const mirrored = await mirrorSources({
            catalogDir,
            ...(names.length === 0 ? {} : { names }),
            registry,
            cacheDir: baseImageCache(cacheRoot(context)),
            signal,
            log: (line) => context.stderr(`${line}\n`),
          });
          const { kept, before, failed } = mirrored;
          if (flags.json === true) context.stdout(`${JSON.stringify(mirrored, undefined, 2)}\n`);
          else context.stdout(`${sourcesRepository}: ${kept.length} kept, ${before.length} there before\n`);
          if (failed.length > 0) throw new UserError(`${failed.length} could not be kept`);
        }),
      ),
    );
}
