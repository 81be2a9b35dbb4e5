import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { buildStates } from '../../builder/farm/build-states.ts';
import type { BuildView } from '../../builder/http/build-routes.ts';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';
import { type BuildEnd, followBuildLog } from '../follow-build-log.ts';
import { openServerApi, type ServerApi } from '../server-api.ts';
import { formatTable, shortRef, toJson, withoutControls } from '../text.ts';
import { checkBuildId } from './build-id.ts';
import { registerBuildsArtifacts } from './builds-artifacts.ts';
import { registerBuildsShow } from './builds-show.ts';

interface BuildsFlags {
  readonly server?: string;
  readonly json?: boolean;
  readonly limit?: string;
  readonly repository?: string;
  readonly team?: string;
  readonly ref?: string;
  readonly state?: string;
  readonly follow?: boolean;
}

/** `builds ls | show ID | logs ID [-f] | cancel ID | retry ID | artifacts ID [-o DIR]` */
export function registerBuilds(program: Command, context: CliContext): void {
  const builds = program.command('builds').description('look at builds, end them and repeat them');
  const server = ['--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)'] as const;
  const json = ['--json', 'print JSON'] as const;

  builds
    .command('ls')
    .description('list builds, newest first')
    .option(...server)
    .option(...json)
    .option('-n, --limit <number>', 'at most so many', '20')
    .option('--repository <team/app>', 'only of this git repository')
    .option('--team <team>', 'only of the repositories of this team')
    .option('--ref <branch>', 'only of this branch or tag')
    .option('--state <state>', `only in this state: ${buildStates.join(', ')}`)
    .action(async (flags: BuildsFlags) => {
      checkState(flags.state);
      const query = new URLSearchParams({ limit: checkLimit(flags.limit ?? '20') });
      const api = await openServerApi(context, flags.server);
      for (const key of ['repository', 'team', 'ref', 'state'] as const) {
        const value = flags[key];
        if (value !== undefined) query.set(key, value);
      }
      const answer = await api.call<{ builds: BuildView[] }>('GET', `/api/v1/builds?${query.toString()}`);
      context.stdout(flags.json === true ? toJson(answer.builds) : toTable(answer.builds));
    });

  builds
    .command('logs <id>')
    .description('print the log of a build')
    .option('-f, --follow', 'stay until the build has ended; exit code 1 when it failed')
    .option(...server)
    .option(...json)
    .action(async (id: string, flags: BuildsFlags) => {
      const api = await openServerApi(context, flags.server);
      const print = (line: string): void =>
        context.stdout(flags.json === true ? `${JSON.stringify({ line })}\n` : `${line}\n`);
      if (flags.follow !== true) {
        for await (const line of linesOf(api.stream(`/api/v1/builds/${checkBuildId(id)}/log`))) print(line);
        return;
      }
      const end = await printLog(context, api, { id: checkBuildId(id), print });
      if (end.state !== 'succeeded') throw new UserError(`the build ${describeEnd(end)}`);
    });

  for (const [name, description] of [
    ['cancel', 'end a build that waits or runs'],
    ['retry', 'build the same commit once more'],
  ] as const) {
    builds
      .command(`${name} <id>`)
      .description(description)
      .option(...server)
      .option(...json)
      .action(async (id: string, flags: BuildsFlags) => {
        const api = await openServerApi(context, flags.server);
        const build = await api.call<BuildView>('POST', `/api/v1/builds/${checkBuildId(id)}/${name}`);
        context.stdout(flags.json === true ? toJson(build) : toTable([build]));
      });
  }
  registerBuildsShow(builds, context);
  registerBuildsArtifacts(builds, context);
}

/** Prints a log to its end, over restarts of the server. Errors: UserError. */
export async function printLog(
  context: CliContext,
  api: ServerApi,
  { id, print }: { id: string; print: (line: string) => void },
): Promise<BuildEnd> {
  const onLost = (reason: string): void =>
    context.stderr(`brickyard: ${reason}; the log goes on when the server is back\n`);
  const lines = followBuildLog({ api, id, onLost });
  for (;;) {
    const next = await lines.next();
    if (next.done === true) return next.value;
    print(next.value);
  }
}

async function* linesOf(parts: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const part of parts) {
    const lines = (rest + part).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  if (rest !== '') yield rest;
}

/** A log ends a moment before its build's record says so. */
export async function untilEnded(api: ServerApi, id: string): Promise<BuildView> {
  for (;;) {
    const build = await api.call<BuildView>('GET', `/api/v1/builds/${id}`);
    if (build.state !== 'queued' && build.state !== 'running') return build;
    await delay(100);
  }
}

/** How a build ended, in words: `failed: …`. */
export function describeEnd(build: BuildEnd): string {
  return build.error === undefined ? `is ${build.state}` : `${build.state}: ${build.error}`;
}

function checkState(state: string | undefined): void {
  if (state === undefined || buildStates.some((known) => known === state)) return;
  throw new UserError(`--state ${state} is none of ${buildStates.join(', ')}`, { exitCode: 2 });
}

function checkLimit(limit: string): string {
  if (/^[1-9]\d{0,8}$/.test(limit)) return limit;
  throw new UserError(`--limit ${limit} is no number from 1`, { exitCode: 2 });
}

function toTable(builds: readonly BuildView[]): string {
  return formatTable(
    builds.map((build) => [
      build.id,
      build.state,
      build.repository,
      withoutControls(build.package?.name ?? shortRef(build.ref)),
      build.commit.slice(0, 12),
      build.createdAt.slice(0, 19).replace('T', ' '),
    ]),
  );
}
