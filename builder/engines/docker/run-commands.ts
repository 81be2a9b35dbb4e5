import type { Logger } from '../../../core/log.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import type { BuildStep } from '../../plan/plan.ts';
import type { Masker } from '../../secrets/masker.ts';
import type { EngineContext } from '../engine.ts';
import type { ContainerApi, ContainerEnd } from './container-api.ts';
import { runContainer } from './run-container.ts';
import { limitText, type SandboxLimits } from './sandbox-limits.ts';

/** Commands that run one after another in a container of their own. */
export interface CommandStep extends Pick<BuildStep, 'base' | 'commands' | 'network' | 'timeoutSeconds'> {
  /** Key of App.yaml that they come from. */
  readonly kind: 'build' | 'test' | 'static';
}

export type CommandLimits = Pick<SandboxLimits, 'memory' | 'output' | 'timeout' | 'fileSize'>;

/**
 * Runs the commands as PID 1's children, one shell each. `$0` is a secret word that introduces a line saying which command
 * begins; only for the message, as a build may lie about itself.
 */
const driver = `n=0
for command do
  n=$((n + 1))
  printf '%s %s\\n' "$0" "$n"
  /bin/sh -ec "$command" || exit
done`;

/** What a container executes to run `commands`; `word` is that of `runCommands`. */
export function commandsArgv(commands: readonly string[], word: string): readonly string[] {
  return ['/bin/sh', '-c', driver, word, ...commands];
}

/** Starts the container and follows it to its end. Errors: JobFailed when a command fails or a limit is hit, ContainerApiError. */
export async function runCommands(
  container: string,
  step: CommandStep,
  word: string,
  {
    api,
    log,
    limits,
    watch,
    context,
    masker,
  }: {
    readonly api: ContainerApi;
    readonly log: Logger;
    readonly limits: CommandLimits;
    /** Asked every two seconds, with what stands in messages; see `RunOptions.watch`. */
    readonly watch: (what: string) => Promise<void>;
    readonly context: EngineContext;
    readonly masker?: Masker | undefined;
  },
): Promise<void> {
  let command = 0;
  const begun = performance.now();
  const end = await runContainer(container, {
    api,
    log,
    signal: context.signal,
    what: whatOf(step),
    timeoutSeconds: Math.min(step.timeoutSeconds, limits.timeout),
    timeoutKey: timeoutKey(step, limits),
    logSize: limits.output,
    watch: () => watch(whatOf(step)),
    masker,
    onLine(line) {
      // Not only at its start: the command before may not have ended its last line.
      const at = line.lastIndexOf(`${word} `);
      if (at !== 0) context.log(at < 0 ? line : line.slice(0, at));
      if (at < 0) return;
      command = Number(line.slice(at + word.length + 1));
      context.log(`$ ${step.commands[command - 1] ?? ''}`);
    },
  }).finally(() => context.phase?.(step.kind, performance.now() - begun));
  if (end.exitCode !== 0 || end.outOfMemory) throw new JobFailed(describe(end, command, step, limits));
}

function timeoutKey({ kind, timeoutSeconds }: CommandStep, limits: CommandLimits): string {
  if (timeoutSeconds > limits.timeout) return 'builder.sandbox.timeout';
  return kind === 'static' ? 'static' : `${kind}.timeout`;
}

function whatOf({ kind }: CommandStep): string {
  return kind === 'static' ? 'the static script' : `the ${kind} commands`;
}

function describe(end: ContainerEnd, command: number, step: CommandStep, limits: CommandLimits): string {
  const which =
    step.kind === 'static' ? whatOf(step) : `${step.kind} command ${command} of ${step.commands.length}`;
  const memory = `${limitText(limits.memory)} of memory`;
  if (end.outOfMemory)
    return `${which} needed more than the ${memory} a build may use (builder.sandbox.memory)`;
  // Before the first command there is only the shell itself.
  if (command === 0) {
    return `${whatOf(step)} could not be started: ${end.error || `exit code ${end.exitCode}`}`;
  }
  const failure = `${which} ended with exit code ${end.exitCode}`;
  if (end.exitCode <= 128 || end.exitCode >= 160) return failure;
  // SIGXFSZ (signal(7)).
  if (end.exitCode === 128 + 25) {
    return `${failure}: a file may have at most ${limitText(limits.fileSize)} (builder.sandbox.fileSize)`;
  }
  // Podman does not always tell why.
  const perhaps = end.exitCode === 137 ? `; a build may use ${memory}` : '';
  return `${failure} (killed by signal ${end.exitCode - 128}${perhaps})`;
}
