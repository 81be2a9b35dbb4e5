import { expect, it } from 'vitest';
import { judgeEngine } from '../../../cli/commands/doctor-engine.ts';

const good = {
  name: 'Docker',
  version: '27.3.1',
  runc: '1.2.0',
  runtimes: ['runc', 'runsc'],
  security: ['name=seccomp,profile=builtin', 'name=userns'],
  socketPath: '/run/docker.sock',
};

it('an engine that has everything is named, and nothing more is said', () => {
  expect(judgeEngine(good, 'runsc')).toEqual([
    { what: 'engine', state: 'ok', text: 'Docker 27.3.1 at /run/docker.sock' },
  ]);
});

it.each([
  ['an old Docker', { version: '19.03.15' }, 'bad', 'Docker 19.03.15 is too old; 20.10 is needed'],
  ['an old Podman', { name: 'Podman', version: '3.4.4' }, 'bad', 'Podman 3.4.4 is too old; 4.0 is needed'],
  ['a runc with a hole', { runc: '1.1.5+ds1' }, 'note', 'runc 1.1.5+ds1 may let a build out'],
  [
    'no seccomp',
    { security: ['name=seccomp,profile=unconfined', 'name=userns'] },
    'note',
    'filters no system calls',
  ],
  ['no user namespaces', { security: ['name=seccomp,profile=default'] }, 'note', 'no user namespaces'],
])('%s is told of with what to do', (_, facts, state, text) => {
  const [, ...findings] = judgeEngine({ ...good, ...facts }, undefined);

  expect(findings).toEqual([{ what: 'sandbox', state, text: expect.stringContaining(text) }]);
});

it('a runtime that is wished for and not there is bad', () => {
  expect(judgeEngine(good, 'kata')[1]).toEqual({
    what: 'sandbox',
    state: 'bad',
    text: 'the engine has no runtime "kata" (builder.sandbox.runtime); it has runc, runsc',
  });
});

it('a patched or newer number is no older one, and an engine without runc has no version of it', () => {
  expect(judgeEngine({ ...good, version: '20.10.24+dfsg1', runc: '1.1.12' }, undefined)).toHaveLength(1);
  expect(judgeEngine({ ...good, runc: undefined }, undefined)).toHaveLength(1);
});
