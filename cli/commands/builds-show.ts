import type { Command } from 'commander';
import { buildPhases } from '../../builder/farm/build-phases.ts';
import type { BuildView } from '../../builder/http/build-routes.ts';
import type { BuildRecordView } from '../../builder/http/record-routes.ts';
import type { CliContext } from '../context.ts';
import { openServerApi } from '../server-api.ts';
import { formatBytes, formatTable, shortRef, toJson, withoutControls } from '../text.ts';
import { checkBuildId } from './build-id.ts';

interface ShowFlags {
  readonly server?: string;
  readonly json?: boolean;
  readonly dockerfile?: boolean;
}

type Attempt = BuildRecordView['attempts'][number];
type App = Attempt['apps'][number];

/** `builds show ID`: what a build was asked for, what it was made of, and where its time went. */
export function registerBuildsShow(builds: Command, context: CliContext): void {
  builds
    .command('show <id>')
    .description('show what a build was made of, and where its time went')
    .option('--dockerfile', 'print the Dockerfile that would make the same image, and nothing else')
    .option('--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)')
    .option('--json', 'print JSON')
    .action(async (id: string, flags: ShowFlags) => {
      const api = await openServerApi(context, flags.server);
      const path = `/api/v1/builds/${checkBuildId(id)}`;
      const build = await api.call<BuildView>('GET', path);
      const { attempts } = await api.call<BuildRecordView>('GET', `${path}/record`);
      if (flags.json === true) context.stdout(toJson({ ...build, record: attempts }));
      else if (flags.dockerfile === true) {
        for (const { dockerfile } of attempts.at(-1)?.apps ?? []) context.stdout(dockerfile);
      } else context.stdout(describeBuild(build, attempts));
    });
}

/** Blocks of lines with an empty line between them; what others wrote cannot move the terminal's cursor. */
export function describeBuild(build: BuildView, attempts: readonly Attempt[]): string {
  const blocks = [
    formatTable(rowsOf(build)),
    ...attempts.map(describeAttempt),
    ...(attempts.at(-1)?.apps ?? []).map(describeApp),
  ];
  return blocks.join('\n');
}

function rowsOf(build: BuildView): string[][] {
  const { package: package_, error, worker, lane, startedAt, finishedAt } = build;
  return [
    ['build', build.id],
    ['state', build.state + (error === undefined ? '' : `: ${clean(error)}`)],
    ['repository', build.repository],
    ['ref', clean(shortRef(build.ref))],
    ['commit', clean(build.commit)],
    ['by', clean(build.pusher)],
    ...(package_ === undefined ? [] : [['package', clean(package_.name)]]),
    ...(lane === undefined ? [] : [['lane', clean(lane)]]),
    ['queued', build.createdAt],
    ...(startedAt === undefined ? [] : [['started', startedAt]]),
    ...(finishedAt === undefined ? [] : [['finished', finishedAt]]),
    ...(worker === undefined ? [] : [['worker', clean(worker)]]),
    ['attempts', `${build.attempts}`],
    ...(build.images ?? (build.image === undefined ? [] : [build.image])).flatMap((image) => [
      ['image', `${clean(image.reference)}@${image.digest}`],
      ['tags', clean(image.tags.join(', '))],
    ]),
  ];
}

function describeAttempt(attempt: Attempt, index: number): string {
  const times = buildPhases.flatMap((phase) => {
    const milliseconds = attempt.phases[phase];
    return milliseconds === undefined ? [] : [[`  ${phase}`, formatTime(milliseconds as number)]];
  });
  const { hit, partial, miss } = attempt.caches;
  const looked = hit + partial + miss;
  const rest = [
    ...(looked === 0 ? [] : [['  caches', `${hit} of ${looked} were there, ${partial} of other lockfiles`]]),
    ['  log', formatBytes(attempt.logBytes)],
  ];
  const reason = attempt.reason === undefined ? '' : `: ${clean(attempt.reason)}`;
  const worker = attempt.worker === undefined ? '' : ` on ${clean(attempt.worker)}`;
  return `attempt ${index + 1}${worker}, ${attempt.outcome}${reason}\n${formatTable([...times, ...rest])}`;
}

function describeApp({ directory, plan, inputs, layers, unchanged }: App): string {
  const title = directory === '' ? 'the app' : `the app in ${clean(directory)}`;
  const rows = [
    ['  commit', inputs.commit],
    ['  tree', inputs.tree],
    ['  base', inputs.base],
    ...(inputs.buildBase === undefined ? [] : [['  build in', inputs.buildBase]]),
    ...(inputs.testBase === undefined ? [] : [['  test in', inputs.testBase]]),
    ['  engine', inputs.engine],
    ...(unchanged === undefined ? [] : [['  made by', `build ${unchanged}: the files are the same`]]),
    ...(layers === undefined
      ? []
      : [
          ['  mounted', countLayers(layers.mountedLayers, layers.mountedBytes)],
          ['  skipped', countLayers(layers.skippedLayers, layers.skippedBytes)],
          ['  stored', countLayers(layers.storedLayers, layers.storedBytes)],
        ]),
  ];
  const steps = plan.trimEnd().split('\n');
  return `${title}\n${formatTable(rows.map((row) => row.map(clean)))}${steps.map((line) => `  ${clean(line)}\n`).join('')}`;
}

function countLayers(layers: number, bytes: number): string {
  return `${layers} ${layers === 1 ? 'layer' : 'layers'}, ${formatBytes(bytes)}`;
}

function clean(text: string): string {
  return withoutControls(text.replaceAll('\n', ' '));
}

function formatTime(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${Math.floor(milliseconds / 60_000)} min ${Math.round((milliseconds % 60_000) / 1000)} s`;
}
