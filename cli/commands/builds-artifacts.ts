import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';
import { openServerApi } from '../server-api.ts';
import { formatBytes, withoutControls } from '../text.ts';
import { checkBuildId } from './build-id.ts';

interface ArtifactsFlags {
  readonly server?: string;
  readonly json?: boolean;
  readonly output?: string;
}

/** `builds artifacts ID [-o DIR]`: lists what the tests of a build left, or fetches it. */
export function registerBuildsArtifacts(builds: Command, context: CliContext): void {
  builds
    .command('artifacts <id>')
    .description('list what the tests of a build left, or fetch it into a folder')
    .option('-o, --output <dir>', 'folder to write the files to')
    .option('--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)')
    .option('--json', 'print JSON')
    .action(async (id: string, flags: ArtifactsFlags) => {
      const api = await openServerApi(context, flags.server);
      const path = `/api/v1/builds/${checkBuildId(id)}/artifacts`;
      const { artifacts } = await api.call<{ artifacts: { path: string; size: number }[] }>('GET', path);
      if (flags.output !== undefined) {
        const folder = resolve(context.cwd, flags.output);
        for (const artifact of artifacts) {
          const target = join(folder, checkPath(artifact.path));
          await mkdir(dirname(target), { recursive: true });
          const address = artifact.path.split('/').map(encodeURIComponent).join('/');
          await writeFile(target, await api.bytes(`${path}/${address}`));
        }
      }
      if (flags.json === true) context.stdout(`${JSON.stringify(artifacts, undefined, 2)}\n`);
      else {
        for (const artifact of artifacts)
          context.stdout(`${formatBytes(artifact.size).padStart(8)}  ${withoutControls(artifact.path)}\n`);
      }
    });
}

/** Names come from a build: they lie below the folder or nowhere. Errors: UserError. */
function checkPath(path: string): string {
  if (path.split('/').some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))) {
    throw new UserError(`the server told of a file ${JSON.stringify(path)}, which is not written`);
  }
  return path;
}
