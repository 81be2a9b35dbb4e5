import { expect, it } from 'vitest';
import { socketCandidates } from '../../../../../builder/engines/docker/find-socket.ts';

it.each([
  [
    'a configured path is the only one',
    '/run/mine.sock',
    { DOCKER_HOST: 'unix:///other.sock' },
    ['/run/mine.sock'],
  ],
  ['a configured path may be written as an address', 'unix:///run/mine.sock', {}, ['/run/mine.sock']],
  [
    'DOCKER_HOST is the only one',
    'auto',
    { DOCKER_HOST: 'unix:///run/x.sock', XDG_RUNTIME_DIR: '/run/user/7' },
    ['/run/x.sock'],
  ],
  ['an engine on another machine is not used unasked', 'auto', { DOCKER_HOST: 'tcp://10.0.0.1:2375' }, []],
  [
    'without any wish, the usual places',
    'auto',
    { XDG_RUNTIME_DIR: '/run/user/7' },
    [
      '/var/run/docker.sock',
      '/run/podman/podman.sock',
      '/run/user/7/docker.sock',
      '/run/user/7/podman/podman.sock',
    ],
  ],
])('%s', (_, socket, environment, expected) => {
  expect(socketCandidates({ socket, environment })).toEqual(expected);
});
