import type { Command } from 'commander';
import type { WaveDetailView, WaveView } from '../../builder/http/base-image-views.ts';
import { UserError } from '../../core/user-error.ts';
import { isRepositoryName } from '../../oci/reference.ts';
import type { CliContext } from '../context.ts';
import { parseDuration } from '../duration.ts';
import { openServerApi } from '../server-api.ts';
import { toJson } from '../text.ts';
import { parseBaseArgument } from './base-name.ts';
import { followWaves, wavesTable } from './base-waves.ts';

interface RebaseFlags {
  readonly server?: string;
  readonly json?: boolean;
  readonly canary?: string;
  readonly canaryWait?: string;
  readonly app?: readonly string[];
  readonly wave?: string;
  readonly moveChannel?: boolean;
}

/** `base rebase | undo | waves NAME` */
export function registerBaseRebase(base: Command, context: CliContext): void {
  const server = ['--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)'] as const;
  const json = ['--json', 'print JSON'] as const;

  base
    .command('rebase <name>')
    .description('bring the apps onto what a base image is now; exit code 1 when one of them failed')
    .option(
      '--canary <number>',
      'so many apps first, and the others when those succeeded (default: as configured)',
    )
    .option('--canary-wait <time>', 'how long after the first apps the others follow: 90s, 15m')
    .option('--app <team/app...>', 'only these image repositories, also where they are excluded')
    .option(...server)
    .option(...json)
    .action(async (argument: string, flags: RebaseFlags) => {
      const { name, channel } = parseBaseArgument(argument);
      const body = {
        ...(channel === undefined ? {} : { channel }),
        ...(flags.canary === undefined ? {} : { canary: checkNumber(flags.canary) }),
        ...(flags.canaryWait === undefined
          ? {}
          : { canaryWait: parseDuration('--canary-wait', flags.canaryWait) / 1000 }),
        ...(flags.app === undefined ? {} : { apps: flags.app.map(checkApp) }),
      };
      const api = await openServerApi(context, flags.server);
      const { waves } = await api.call<{ waves: WaveView[] }>(
        'POST',
        `/api/v1/base-images/${name}/rebase`,
        body,
      );
      if (waves.length === 0 && flags.json !== true) {
        context.stdout(`every app on ${argument} is up to date\n`);
        return;
      }
      await followWaves(context, api, name, waves, { json: flags.json === true });
    });

  base
    .command('undo <name>')
    .description('give the tags back what the last rebase took from them, where nobody moved them since')
    .option('--wave <id>', 'this one instead of the last; "brickyard base waves" lists them')
    .option('--move-channel', 'the channel of the base image goes back as well')
    .option(...server)
    .option(...json)
    .action(async (argument: string, flags: RebaseFlags) => {
      const { name, channel } = parseBaseArgument(argument);
      const body = {
        ...(channel === undefined ? {} : { channel }),
        ...(flags.wave === undefined ? {} : { wave: checkId(flags.wave) }),
        ...(flags.moveChannel === true ? { moveChannel: true } : {}),
      };
      const api = await openServerApi(context, flags.server);
      const { waves } = await api.call<{ waves: WaveView[] }>(
        'POST',
        `/api/v1/base-images/${name}/undo`,
        body,
      );
      await followWaves(context, api, name, waves, { json: flags.json === true });
      if (flags.moveChannel === true) return;
      context.stderr(`builds go on with what ${argument} is now; --move-channel takes that back as well\n`);
    });

  base
    .command('waves <name> [id]')
    .description('list rebases, newest first, or what one of them did with each image')
    .option(...server)
    .option(...json)
    .action(async (argument: string, id: string | undefined, flags: RebaseFlags) => {
      const { name } = parseBaseArgument(argument);
      const api = await openServerApi(context, flags.server);
      const path = `/api/v1/base-images/${name}/waves`;
      if (id === undefined) {
        const { waves } = await api.call<{ waves: WaveView[] }>('GET', path);
        context.stdout(flags.json === true ? toJson(waves) : wavesTable(waves));
        return;
      }
      const detail = await api.call<WaveDetailView>('GET', `${path}/${checkId(id)}`);
      if (flags.json === true || detail.wave.finishedAt === undefined) context.stdout(toJson(detail));
      else await followWaves(context, api, name, [detail.wave], { json: false });
    });
}

function checkNumber(text: string): number {
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw new UserError(`--canary ${text} is no number of apps`, { exitCode: 2 });
}

function checkApp(text: string): string {
  if (isRepositoryName(text)) return text;
  throw new UserError(`--app ${text} is no image repository, such as team/app`, { exitCode: 2 });
}

function checkId(id: string): string {
  if (/^[0-9a-f-]{36}$/.test(id)) return id;
  throw new UserError(`"${id}" is no wave's id; "brickyard base waves NAME" lists them`, { exitCode: 2 });
}
