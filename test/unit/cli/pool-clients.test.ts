import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { brickyard } from '../../helpers/brickyard-command.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

const pools = `
pools:
  - name: hz1
    listen: 0.0.0.0:443
    endpoint: https://hz1.test
    tls: {cert: none.pem, key: none.key}
    origin:
      urls: [https://registry.test]
      # A node has no such file, and needs none.
      credential: file:account
    p2p: {engine: spegel}
`;
const hosts = 'etc/containerd/certs.d/registry.test/hosts.toml';

let home: TempDirectory;

beforeEach(async () => {
  home = await createTempDirectory('home');
  await writeFile(join(home.path, 'pools.yaml'), pools);
});
afterEach(() => home.remove());

const clients = (...args: string[]) => brickyard(['pool', 'clients', 'hz1', ...args], { home: home.path });

describe('brickyard pool clients', () => {
  it('prints the files of every client, how they are installed, and how they go away', async () => {
    const { code, stdout, stderr } = await clients();

    expect(code).toBe(0);
    for (const text of [
      '# ---- containerd ----',
      `# /${hosts}`,
      '# ---- podman ----',
      '# ---- docker ----',
      'brickyard pool clients hz1 --install; back: brickyard pool clients hz1 --undo',
      'kubectl apply -f -',
    ]) {
      expect(stdout).toContain(text);
    }
    expect(stderr).toContain('none.pem');
  });

  it('prints what is for a pipe alone, and nothing else', async () => {
    const shell = await clients('--for', 'shell');
    const kubernetes = await clients('--for', 'kubernetes', '--image', 'registry.test/tools/sh:1');

    expect(shell.stdout).toMatch(/^#!\/bin\/sh\n/);
    const [, set] = parseAllDocuments(kubernetes.stdout).map((document) => document.toJS());
    expect(set.spec.template.spec.containers[0].image).toBe('registry.test/tools/sh:1');
  });

  it('prints JSON for machines', async () => {
    const { stdout } = await clients('--json', '--for', 'podman');

    expect(JSON.parse(stdout)).toMatchObject({
      pool: 'hz1',
      endpoint: 'https://hz1.test',
      registries: [{ host: 'registry.test' }],
      clients: [{ client: 'podman', files: [{ path: expect.stringContaining('registries.conf.d') }] }],
    });
  });

  it('writes below another root what is for the engines there, and takes it back without pools.yaml', async () => {
    const root = join(home.path, 'node');
    await mkdir(join(root, 'etc/containerd'), { recursive: true });

    const written = await clients('--install', '--root', 'node');
    await writeFile(join(home.path, 'pools.yaml'), 'gone: true');

    expect(written).toMatchObject({ code: 0, stdout: `written /${hosts}\n` });
    expect(written.stderr).toContain('config_path');
    expect(await readFile(join(root, hosts), 'utf8')).toContain('[host."https://hz1.test"]');
    expect(await clients('--undo', '--root', 'node')).toMatchObject({
      code: 0,
      stdout: `removed /${hosts}\n`,
    });
    expect(await clients('--undo', '--root', 'node')).toMatchObject({ code: 0, stdout: '' });
  });

  it('prints the values of the P2P engine that the pool has', async () => {
    const { stdout } = await clients('--p2p');

    expect(stdout).toContain('mirroredRegistries:\n    - https://registry.test\n');
  });

  it.each([
    [
      'a client that there is not',
      ['--for', 'rkt'],
      2,
      'there are containerd, podman, docker, kubernetes, shell',
    ],
    ['kubernetes as this machine', ['--install', '--for', 'kubernetes'], 2, '--install is for containerd'],
    ['a machine without engines', ['--install', '--root', 'empty'], 1, 'say --for containerd|podman|docker'],
    [
      'a scheduler that is no address',
      ['--p2p', 'dragonfly', '--scheduler', 'here'],
      2,
      'is no host and port',
    ],
    ['an unknown P2P engine', ['--p2p', 'kraken'], 2, '--p2p dragonfly or --p2p spegel'],
    ['certificates that are not there', ['--ca', 'nowhere.pem'], 1, 'cannot read'],
  ])('refuses %s', async (_, args, code, text) => {
    const outcome = await clients(...args);

    expect(outcome).toMatchObject({ code, stdout: '', stderr: expect.stringContaining(text) });
  });
});
