import type { Readable } from 'node:stream';
import { JobFailed } from '../../core/queue/job-queue.ts';
import type { EngineContext, Sandbox, SandboxInput } from '../engines/engine.ts';
import type { BuildPlan } from '../plan/plan.ts';
import type { AppBuildInput } from './build-app.ts';
import type { AppRecorder } from './build-recorder.ts';
import { formatStep } from './report.ts';

type StepInput = Pick<AppBuildInput, 'source' | 'context' | 'write' | 'artifacts' | 'directory' | 'record'>;

/** What the commands find beside the source. */
export type StepGifts = Pick<SandboxInput, 'secrets' | 'caches'>;

/**
 * Runs what App.yaml asks to be run: build commands, tests, the static script. Returns the files that the image gets beside those of the commit;
 * undefined = it gets those alone. Errors: as `Sandbox.run`; JobFailed where there is no sandbox.
 */
export async function runSteps(
  sandbox: Sandbox | undefined,
  input: StepInput,
  plan: BuildPlan,
  given: StepGifts = {},
): Promise<Readable | undefined> {
  const { staticScript } = plan;
  if (plan.build === undefined && plan.test === undefined && staticScript === undefined) return undefined;
  if (sandbox === undefined) {
    throw new JobFailed(
      'App.yaml has build:, test: or static: but no container engine answers; start Docker or Podman, or remove them',
    );
  }
  const outputs = await runCommands(sandbox, input, plan, given);
  if (staticScript === undefined) return outputs;
  const { source, context, write, record } = input;
  const started = performance.now();
  const timed = timeSandbox(record);
  const files = await sandbox.runScript(
    { plan: { ...plan, staticScript }, source, ...(outputs === undefined ? {} : { outputs }) },
    { signal: context.signal, log: (line) => write(`  │ ${line}`), ...timed.told },
  );
  timed.end();
  write(formatStep('static', staticScript, performance.now() - started));
  return files;
}

/** Returns what `build` made; undefined where only tests ran, or nothing. */
async function runCommands(
  sandbox: Sandbox,
  { source, context, write, artifacts, directory, record }: StepInput,
  plan: BuildPlan,
  given: StepGifts,
): Promise<Readable | undefined> {
  const { build, test } = plan;
  if (build === undefined && test === undefined) return undefined;
  const started = performance.now();
  const timed = timeSandbox(record);
  const outputs = await sandbox.run(
    {
      plan,
      ...(build === undefined ? {} : { step: build }),
      ...(test === undefined ? {} : { test }),
      source,
      ...given,
      async keep(kept) {
        const below = directory === '' ? '' : `${directory}/`;
        await artifacts.add(kept.map(({ path, content }) => ({ path: below + path, content })));
        if (kept.length > 0) write(`  │ kept ${count(kept.length, 'artifact')}: brickyard builds artifacts`);
      },
    },
    { signal: context.signal, log: (line) => write(`  │ ${line}`), ...timed.told },
  );
  timed.end();
  const ran = [
    ...(build === undefined ? [] : [count(build.commands.length, 'command')]),
    ...(test === undefined ? [] : [`${count(test.commands.length, 'test command')}`]),
  ];
  const name = build === undefined ? 'test' : 'build';
  write(formatStep(name, ran.join(', '), performance.now() - started));
  if (build !== undefined) return outputs;
  outputs.destroy();
  return undefined;
}

/** What the sandbox does not tell of is its own time: containers, and files into and out of them. */
function timeSandbox(record: AppRecorder | undefined): {
  told: Pick<EngineContext, 'phase' | 'cache'>;
  end(): void;
} {
  const begun = performance.now();
  let known = 0;
  return {
    told: {
      phase(name, milliseconds) {
        known += milliseconds;
        record?.phase(name, milliseconds);
      },
      cache: (outcome) => record?.cache(outcome),
    },
    end: () => record?.phase('sandbox', performance.now() - begun - known),
  };
}

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}
