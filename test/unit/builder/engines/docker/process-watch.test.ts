import { expect, it } from 'vitest';
import { createProcessWatch } from '../../../../../builder/engines/docker/process-watch.ts';
import { JobFailed } from '../../../../../core/queue/job-queue.ts';

it('a container that stands at its number of processes twice in a row is a fork bomb', async () => {
  const watch = watchOf([12, 12, 11, 12, 12]);

  await watch('the build commands');
  await expect(watch('the build commands')).rejects.toThrow(
    'the build commands had all of the 12 processes and threads that a build may have (builder.sandbox.processes)',
  );
});

it('one that touches it now and then is none, and an engine that does not say harms nobody', async () => {
  const watch = watchOf([12, 3, 12, undefined, 12, new Error('gone'), 12]);

  for (let times = 0; times < 7; times += 1) await watch('x');
});

it('is a fault of the commit', async () => {
  const watch = watchOf([13, 13]);
  await watch('x');

  await expect(watch('x')).rejects.toBeInstanceOf(JobFailed);
});

function watchOf(counts: (number | undefined | Error)[]): (what: string) => Promise<void> {
  const answers = counts.values();
  const processCount = async (): Promise<number | undefined> => {
    const next = answers.next().value;
    if (next instanceof Error) throw next;
    return next;
  };
  return createProcessWatch({ processCount }, 'id', { processes: 12 });
}
