import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { containerdSetup } from '../../../../cache-proxy/clients/containerd.ts';
import { dockerSetup } from '../../../../cache-proxy/clients/docker.ts';
import { install, uninstall } from '../../../../cache-proxy/clients/install.ts';
import { podmanSetup } from '../../../../cache-proxy/clients/podman.ts';
import { makeClientPool, testPem } from '../../../helpers/client-pool.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

const pool = makeClientPool({ ca: testPem, endpoint: 'http://hz1.test', plain: true });
const setups = [containerdSetup(pool), podmanSetup(pool), dockerSetup(pool)];
const hosts = 'etc/containerd/certs.d/docker.io/hosts.toml';
const daemon = 'etc/docker/daemon.json';

let directory: TempDirectory;
let root: string;

beforeEach(async () => {
  directory = await createTempDirectory('clients');
  root = directory.path;
});
afterEach(() => directory.remove());

async function put(path: string, content: string, mode = 0o644): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content, { mode });
}

const read = (path: string): Promise<string> => readFile(join(root, path), 'utf8');

/** Every file below the root and what it holds. */
async function everything(): Promise<Record<string, string>> {
  const names = await readdir(root, { recursive: true, withFileTypes: true });
  const files = names.filter((name) => name.isFile()).map((name) => join(name.parentPath, name.name));
  return Object.fromEntries(
    await Promise.all(files.map(async (file) => [file, await readFile(file, 'utf8')] as const)),
  );
}

describe('installing the files of a pool’s clients', () => {
  it('writes them, and taking back leaves the machine as it was', async () => {
    await put(hosts, 'server = "https://mine.test"\n', 0o600);
    await put(daemon, '{"debug": true}\n');
    const before = await everything();

    const { done, left } = await install(root, pool, setups);
    const during = await everything();
    await uninstall(root, pool.name);

    expect(left).toEqual([]);
    expect(done).toContain(`written /${hosts}`);
    expect(done).toContain(`changed /${daemon}`);
    for (const { path, content } of setups.flatMap(({ files }) => files)) {
      expect(during[join(root, path)]).toBe(content);
    }
    expect(JSON.parse(during[join(root, daemon)] ?? '')).toEqual({
      debug: true,
      'insecure-registries': ['hz1.test'],
    });
    const after = await everything();
    expect(JSON.parse(after[join(root, daemon)] ?? '')).toEqual({ debug: true });
    expect({ ...after, [join(root, daemon)]: before[join(root, daemon)] }).toEqual(before);
    expect((await stat(join(root, hosts))).mode & 0o777).toBe(0o600);
  });

  it('a second time does nothing, and what was there before the first time still comes back', async () => {
    await put(hosts, 'server = "https://mine.test"\n');
    await install(root, pool, setups);

    const again = await install(root, pool, setups);
    await uninstall(root, pool.name);

    expect(again).toEqual({ done: [], left: [] });
    expect(await read(hosts)).toBe('server = "https://mine.test"\n');
  });

  it('for another configuration takes back what is no longer needed', async () => {
    await put(hosts, 'server = "https://mine.test"\n');
    await install(root, pool, setups);
    const smaller = makeClientPool({ registries: pool.registries.slice(0, 1) });

    const { done } = await install(root, smaller, [containerdSetup(smaller)]);

    expect(done).toContain(`put back /${hosts}`);
    expect(await read(hosts)).toBe('server = "https://mine.test"\n');
    expect(await read('etc/containers/registries.conf.d/900-brickyard-pool-hz1.conf')).toContain('docker.io');
  });

  it('for one client leaves the others’ files, in both directions', async () => {
    await install(root, pool, [containerdSetup(pool)]);
    await install(root, pool, [podmanSetup(pool)]);

    await uninstall(root, pool.name, ['podman']);

    expect(await read(hosts)).toContain('hz1.test');
    await expect(read('etc/containers/registries.conf.d/900-brickyard-pool-hz1.conf')).rejects.toThrow();
    expect((await uninstall(root, pool.name))?.done).toContain(`removed /${hosts}`);
    expect(await uninstall(root, pool.name)).toBeUndefined();
  });

  it('changes nothing at all when one file cannot be taken over', async () => {
    await put(daemon, '{"debug": true,}');
    const before = await everything();

    await expect(install(root, pool, setups)).rejects.toThrow('/etc/docker/daemon.json is no JSON');

    expect(await everything()).toEqual(before);
  });

  it('refuses a link, because replacing it would leave what it leads to as it is', async () => {
    await put('etc/real.toml', '');
    await mkdir(dirname(join(root, hosts)), { recursive: true });
    await symlink(join(root, 'etc/real.toml'), join(root, hosts));

    await expect(install(root, pool, setups)).rejects.toThrow('is no plain file');
  });

  it('leaves what somebody changed since, says so, and keeps what it had replaced', async () => {
    await put(hosts, 'server = "https://mine.test"\n');
    await install(root, pool, setups);
    await put(hosts, '# mine again\n');

    await expect(install(root, pool, setups)).rejects.toThrow('was changed since it was installed');
    const first = await uninstall(root, pool.name);
    await rm(join(root, hosts));
    const second = await uninstall(root, pool.name);

    expect(first?.left).toEqual([`/${hosts}`]);
    expect(second).toEqual({ done: [`put back /${hosts}`], left: [] });
    expect(await read(hosts)).toBe('server = "https://mine.test"\n');
  });

  it('is taken back whole after a crash between the record and the files', async () => {
    await put(hosts, 'server = "https://mine.test"\n');
    await install(root, pool, setups);
    // As if the second half had not been written yet: the old file stands there, the new ones do not.
    await put(hosts, 'server = "https://mine.test"\n');
    await rm(join(root, 'etc/containers'), { recursive: true });

    const report = await uninstall(root, pool.name);

    expect(report?.left).toEqual([]);
    expect(await read(hosts)).toBe('server = "https://mine.test"\n');
  });
});
