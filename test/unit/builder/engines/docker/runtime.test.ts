import { expect, it } from 'vitest';
import { requireRuntime } from '../../../../../builder/engines/docker/runtime.ts';

const about = async () => ({
  name: 'Docker',
  version: '27.0.1',
  runc: '1.2.0',
  runtimes: ['runc', 'runsc'],
  security: [],
});

it('a runtime that the engine has is taken', async () => {
  await requireRuntime({ about }, 'runsc');
});

it('one that it has not stops the build with those that it has, instead of building behind weaker walls', async () => {
  await expect(requireRuntime({ about }, 'kata')).rejects.toThrow(
    'Docker has no runtime "kata", which builder.sandbox.runtime names; it has runc, runsc. Register it',
  );
});
