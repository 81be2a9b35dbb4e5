import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import type { BuildView } from '../../builder/http/build-routes.ts';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';
import { openServerApi, type ServerApi } from '../server-api.ts';
import { formatTable, shortRef, toJson, withoutControls } from '../text.ts';
import { checkBuildId } from './build-id.ts';
import { registerBuildsArtifacts } from './builds-artifacts.ts';

interface BuildsFlags {
  readonly server?: string;
  readonly json?: boolean;
  readonly limit?: string;
  readonly repository?: string;
  readonly follow?: boolean;
}

/** `builds ls | logs ID [-f] | cancel ID | retry ID | artifacts ID [-o DIR]` */
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
    .action(async (flags: BuildsFlags) => {
      const query = new URLSearchParams({ limit: checkLimit(flags.limit ?? '20') });
      const api = await openServerApi(context, flags.server);
      if (flags.repository !== undefined) query.set('repository', flags.repository);
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
      const path = `/api/v1/builds/${checkBuildId(id)}`;
      const follow = flags.follow === true;
      let line = '';
      for await (const text of api.stream(`${path}/log?follow=${follow ? '1' : '0'}`)) {
        if (flags.json !== true) context.stdout(text);
        else {
          const lines = (line + text).split('\n');
          line = lines.pop() ?? '';
          for (const each of lines) context.stdout(`${JSON.stringify({ line: each })}\n`);
        }
      }
      if (!follow) return;
      const build = await untilEnded(api, id);
      if (build.state !== 'succeeded') throw new UserError(`the build ${describeEnd(build)}`);
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
  registerBuildsArtifacts(builds, context);
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
export function describeEnd(build: BuildView): string {
  return build.error === undefined ? `is ${build.state}` : `${build.state}: ${build.error}`;
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
