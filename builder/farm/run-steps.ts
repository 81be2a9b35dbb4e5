import type { Readable } from 'node:stream';
import { JobFailed } from '../../core/queue/job-queue.ts';
import type { Sandbox } from '../engines/engine.ts';
import type { BuildPlan } from '../plan/plan.ts';
import type { AppBuildInput } from './build-app.ts';
import { formatStep } from './report.ts';

type StepInput = Pick<AppBuildInput, 'source' | 'context' | 'write' | 'artifacts' | 'directory'>;

/**
 * Runs what App.yaml asks to be run: build commands, tests, the static script. Returns the files that the image gets beside those of the commit;
 * undefined = it gets those alone. Errors: as `Sandbox.run`; JobFailed where there is no sandbox.
 */
export async function runSteps(
  sandbox: Sandbox | undefined,
  input: StepInput,
  plan: BuildPlan,
): Promise<Readable | undefined> {
  const { staticScript } = plan;
  if (plan.build === undefined && plan.test === undefined && staticScript === undefined) return undefined;
  if (sandbox === undefined) {
    throw new JobFailed(
      'App.yaml has build:, test: or static: but no container engine answers; start Docker or Podman, or remove them',
    );
  }
  const outputs = await runCommands(sandbox, input, plan);
  if (staticScript === undefined) return outputs;
  const { source, context, write } = input;
  const started = performance.now();
  const files = await sandbox.runScript(
    { plan: { ...plan, staticScript }, source, ...(outputs === undefined ? {} : { outputs }) },
    { signal: context.signal, log: (line) => write(`  │ ${line}`) },
  );
  write(formatStep('static', staticScript, performance.now() - started));
  return files;
}

/** Returns what `build` made; undefined where only tests ran, or nothing. */
async function runCommands(
  sandbox: Sandbox,
  { source, context, write, artifacts, directory }: StepInput,
  plan: BuildPlan,
): Promise<Readable | undefined> {
  const { build, test } = plan;
  if (build === undefined && test === undefined) return undefined;
  const started = performance.now();
  const outputs = await sandbox.run(
    {
      plan,
      ...(build === undefined ? {} : { step: build }),
      ...(test === undefined ? {} : { test }),
      source,
      async keep(kept) {
        const below = directory === '' ? '' : `${directory}/`;
        await artifacts.add(kept.map(({ path, content }) => ({ path: below + path, content })));
        if (kept.length > 0) write(`  │ kept ${count(kept.length, 'artifact')}: brickyard builds artifacts`);
      },
    },
    { signal: context.signal, log: (line) => write(`  │ ${line}`) },
  );
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

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}
