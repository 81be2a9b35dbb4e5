import type { ClientMerge, ClientPool, ClientSetup } from './client-setup.ts';

const daemonFile = '/etc/docker/daemon.json';

/**
 * Docker's engine knows mirrors of Docker Hub only (moby/moby#18818), and does not tell them which registry it means. So images are called by the
 * pool's own name, and the engine gets what it needs to believe that name.
 */
export function dockerSetup(pool: ClientPool): ClientSetup {
  const merges = mergesOf(pool);
  const [origin] = pool.registries;
  const upstreams = pool.registries.filter(({ kind }) => kind === 'upstream');
  return {
    client: 'docker',
    files:
      pool.ca === undefined ? [] : [{ path: `/etc/docker/certs.d/${pool.host}/ca.crt`, content: pool.ca }],
    merges,
    notes: [
      `Docker pulls through the pool what is called by the pool's name: docker login ${pool.host}; docker pull ${pool.host}/team/app:tag` +
        (origin === undefined ? '' : ` instead of ${origin.host}/team/app:tag`),
      ...upstreams.map(
        ({ host }) => `images of ${host}: docker pull ${pool.host}/${host}/library/debian:12, for example`,
      ),
      ...(merges.length === 0
        ? []
        : [
            'the engine reads daemon.json at its start, and registry-mirrors and insecure-registries also on: systemctl reload docker',
          ]),
    ],
  };
}

function mergesOf(pool: ClientPool): ClientMerge[] {
  const hub = pool.registries.some(
    ({ kind, host }) => kind === 'origin' && ['registry-1.docker.io', 'docker.io'].includes(host),
  );
  const add = {
    ...(hub ? { 'registry-mirrors': [pool.endpoint] } : {}),
    // Docker believes loopback addresses without TLS by itself.
    ...(pool.plain && !/^(?:localhost|127\.|\[::1\])/.test(pool.host)
      ? { 'insecure-registries': [pool.host] }
      : {}),
  };
  return Object.keys(add).length === 0 ? [] : [{ path: daemonFile, add }];
}
