import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkNode } from '../../../../cache-proxy/clients/check-node.ts';
import { containerdSetup } from '../../../../cache-proxy/clients/containerd.ts';
import { install } from '../../../../cache-proxy/clients/install.ts';
import { podmanSetup } from '../../../../cache-proxy/clients/podman.ts';
import { makeClientPool } from '../../../helpers/client-pool.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

const pool = makeClientPool();
const registries = pool.registries.map(({ host }) => host);
const config = '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n';

let directory: TempDirectory;

beforeEach(async () => {
  directory = await createTempDirectory('node');
  await put('etc/containerd/config.toml', config);
  await install(directory.path, pool, [containerdSetup(pool), podmanSetup(pool)]);
});
afterEach(() => directory.remove());

async function put(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(directory.path, path)), { recursive: true });
  await writeFile(join(directory.path, path), content);
}

async function bad(): Promise<string[]> {
  const findings = await checkNode({
    root: directory.path,
    pool: pool.name,
    endpoint: pool.endpoint,
    registries,
  });
  return findings.filter(({ state }) => state !== 'ok').map(({ what, text }) => `${what}: ${text}`);
}

describe('the files of a node', () => {
  it('as they are installed are good', async () => {
    expect(await bad()).toEqual([]);
  });

  it.each([
    [
      'containerd asks another mirror first',
      'etc/containerd/certs.d/docker.io/hosts.toml',
      "server = 'x'\n[host.'https://else.test']\n[host.\"https://hz1.test\"]\n",
      'containerd: /etc/containerd/certs.d/docker.io/hosts.toml makes it ask https://else.test',
    ],
    [
      'containerd is told of no mirror',
      'etc/containerd/certs.d/docker.io/hosts.toml',
      'server = "https://registry-1.docker.io"\n',
      'containerd: /etc/containerd/certs.d/docker.io/hosts.toml makes it ask docker.io itself',
    ],
    [
      'certificates beside hosts.toml are no longer read',
      'etc/containerd/certs.d/docker.io/ca.crt',
      '',
      'containerd: asks https://hz1.test for images of docker.io, but no longer believes /etc/containerd/certs.d/docker.io/ca.crt',
    ],
    [
      'another spelling of the port hides the file',
      'etc/containerd/certs.d/registry.test_5000_/hosts.toml',
      '',
      'containerd: /etc/containerd/certs.d/registry.test_5000_/hosts.toml is read instead',
    ],
    [
      'containerd does not look there',
      'etc/containerd/config.toml',
      '# config_path = "/etc/containerd/certs.d"\n',
      'containerd: /etc/containerd/config.toml has no config_path',
    ],
    [
      'a later drop-in of Podman wins',
      'etc/containers/registries.conf.d/999-hub.conf',
      '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "else.test"\n',
      'podman: /etc/containers/registries.conf.d/999-hub.conf makes it ask else.test',
    ],
  ])('%s', async (_, path, content, text) => {
    await put(path, content);

    expect(await bad()).toEqual([expect.stringContaining(text)]);
  });

  it('that are not there are named with the command that writes them', async () => {
    const other = makeClientPool({
      registries: [{ host: 'new.test', server: 'https://new.test', kind: 'origin' }],
    });
    const findings = await checkNode({
      root: directory.path,
      pool: other.name,
      endpoint: other.endpoint,
      registries: ['new.test'],
    });

    expect(findings.map(({ state }) => state)).toEqual(['bad', 'bad']);
    for (const { text } of findings) expect(text).toContain('brickyard pool clients hz1 --install');
  });
});
