import type { Command } from 'commander';
import { baseImageCache, buildBaseImages } from '../../builder/catalog/build-base-images.ts';
import { createDockerEngine } from '../../builder/engines/docker.ts';
import type { LevelSandbox } from '../../builder/engines/level-sandbox.ts';
import { createSilentLogger } from '../../core/log.ts';
import { UserError } from '../../core/user-error.ts';
import type { Registry } from '../../oci/registry.ts';
import { announceBases } from '../announce-bases.ts';
import { showBaseImages } from '../base-image-progress.ts';
import { cacheRoot, catalogFolders, catalogOption, readCatalog } from '../catalog-folders.ts';
import { readConfig } from '../config.ts';
import type { CliContext } from '../context.ts';
import { createProgress, lineProgress, type Progress } from '../progress.ts';
import { withServerRegistry } from '../server-registry.ts';
import { formatBytes } from '../text.ts';
import { untilInterrupted } from '../until-interrupted.ts';

interface BuildFlags {
  readonly server?: string;
  readonly json?: boolean;
  readonly catalog?: readonly string[];
  readonly update?: boolean;
  readonly offline?: boolean;
  readonly architectures?: string;
}

/** `base build [NAME…]` */
export function registerBaseBuild(base: Command, context: CliContext): void {
  base
    .command('build [names...]')
    .description('build entries of the catalog with their parents, where something changed (default: all)')
    .option(
      '--offline',
      'take everything from what "base mirror" kept on the server, and nothing from elsewhere',
    )
    .option('--update', 'look for newer packages also where the catalog is unchanged')
    .option(
      '--architectures <list>',
      "amd64,arm64: one image for each, under one index (default: those it has, else this machine's)",
    )
    .option(...catalogOption)
    .option('--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)')
    .option('--json', 'print JSON')
    .action((names: string[], flags: BuildFlags) =>
      withServerRegistry(context, flags.server, async (registry) => {
        const offline = flags.offline === true;
        const catalogDir = await catalogFolders(context, flags.catalog, { offline });
        await readCatalog(context, catalogDir);
        const progress = openProgress(context);
        try {
          const built = await untilInterrupted((signal) =>
            buildBaseImages({
              catalogDir,
              ...(names.length === 0 ? {} : { names }),
              registry,
              cacheDir: baseImageCache(cacheRoot(context)),
              update: flags.update === true,
              offline,
              ...(flags.architectures === undefined ? {} : { architectures: flags.architectures.split(',') }),
              sandbox: () => openLevelSandbox(context, registry),
              signal,
              onProgress: showBaseImages(progress),
              log: (line) => context.stderr(`${line}\n`),
            }).catch((error: unknown) => {
              if (!signal.aborted) throw error;
              throw new UserError('interrupted; no channel was moved', { exitCode: 130, cause: error });
            }),
          );
          progress.close();
          if (flags.json === true) context.stdout(`${JSON.stringify(built, undefined, 2)}\n`);
          for (const image of flags.json === true ? [] : built) {
            const outcome = image.built ? `built, ${formatBytes(image.layerBytes)} stored` : 'unchanged';
            context.stdout(`${image.repository}:${image.tags[0]}  ${image.digest}  ${outcome}\n`);
          }
          await announceBases(
            context,
            flags.server,
            built.map(({ repository }) => repository),
          );
        } finally {
          progress.close();
        }
      }),
    );
}

/** The container engine of this machine, as the configuration names it; undefined = none answers. */
async function openLevelSandbox(context: CliContext, registry: Registry): Promise<LevelSandbox | undefined> {
  const { engine: socket } = readConfig({ env: context.env, cwd: context.cwd }).builder;
  if (socket === 'none') return undefined;
  const log = createSilentLogger();
  return (await createDockerEngine({ socket, environment: context.env, registry, log }))?.levels;
}

function openProgress(context: CliContext): Progress {
  return process.stderr.isTTY
    ? createProgress(process.stderr)
    : lineProgress((line) => context.stderr(`${line}\n`));
}
