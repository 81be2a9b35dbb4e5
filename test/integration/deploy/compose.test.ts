import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse } from 'yaml';
import { createBcrypt } from '../../../core/auth/bcrypt.ts';
import { parseHtpasswd } from '../../../core/auth/htpasswd.ts';
import { changeVariables, readSecret, writeSettings } from '../../../scripts/compose/settings.ts';
import { type RunResult, run } from '../../helpers/process.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

const first = { bind: '127.0.0.1:5911', poolBind: '127.0.0.1:5912', engineSocket: '/dev/null' };
const images = {
  BRICKYARD_SERVER_IMAGE: 'brickyard/server:1',
  BRICKYARD_NGINX_IMAGE: 'brickyard/nginx:1',
  BRICKYARD_REDIS_IMAGE: 'brickyard/redis:1',
  BRICKYARD_CEPH_IMAGE: 'brickyard/ceph:1',
};

let folder: TempDirectory;

beforeAll(async () => {
  folder = await createTempDirectory('compose');
  await writeSettings(folder.path, first);
});

afterAll(async () => {
  await folder.remove();
});

function compose(...args: string[]): Promise<RunResult> {
  return run('docker-compose', args, { cwd: folder.path });
}

/** Every file below the folder with its content. */
async function everything(): Promise<Record<string, string>> {
  const entries = await readdir(folder.path, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(
    await Promise.all(files.map(async (file) => [file, await readFile(file, 'utf8')] as const)),
  );
}

it('docker-compose 1.29 refuses to start anything before there are images, and says what makes them', async () => {
  const refused = await compose('config', '--quiet');

  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain('npm run compose -- up');
});

it('docker-compose 1.29 accepts the files with what the first start writes', async () => {
  await changeVariables(folder.path, images);

  const read = await compose('config');

  expect(read.stderr).toBe('');
  const { services } = parse(read.stdout) as {
    services: Record<string, { image: string; depends_on?: unknown }>;
  };
  expect(Object.keys(services).sort()).toEqual([
    'front',
    'front-config',
    'pool',
    'redis',
    'registry-1',
    'registry-2',
    's3',
    'worker',
  ]);
  expect(services['registry-2']?.depends_on).toEqual({
    redis: { condition: 'service_started' },
    s3: { condition: 'service_healthy' },
  });
  expect(services['front']?.image).toBe('brickyard/nginx:1');
});

it('without the files of store and pool the rest stands alone', async () => {
  const read = await compose('-f', 'docker-compose.yml', 'config', '--services');

  expect(read.stdout.trim().split('\n')).not.toContain('s3');
  expect(read.code, read.stderr).toBe(0);
});

it('the first start makes accounts and secrets of its own, which nobody else may read', async () => {
  expect((await stat(folder.path)).mode & 0o777).toBe(0o700);
  const { users } = parseHtpasswd(await readFile(join(folder.path, 'config/users.htpasswd'), 'utf8'));
  const bcrypt = createBcrypt();
  try {
    for (const name of ['admin', 'pool']) {
      const password = await readSecret(folder.path, `${name}-password`);
      expect(password.length).toBeGreaterThanOrEqual(24);
      expect(await bcrypt.compare(password, users.get(name) ?? '')).toBe(true);
    }
  } finally {
    await bcrypt.close();
  }
  await using other = await createTempDirectory('compose');
  await writeSettings(other.path, first);
  for (const name of await readdir(join(folder.path, 'secrets')))
    expect(await readSecret(other.path, name)).not.toBe(await readSecret(folder.path, name));
});

it('a later start keeps what somebody changed, and every secret', async () => {
  await writeFile(join(folder.path, 'config/brickyard.yaml'), '# mine\n');
  await changeVariables(folder.path, { BRICKYARD_BIND: '0.0.0.0:443' });
  const before = await everything();

  const variables = await writeSettings(folder.path, { ...first, bind: '127.0.0.1:1' });

  expect(await everything()).toEqual(before);
  expect(variables['BRICKYARD_BIND']).toBe('0.0.0.0:443');
});

it('the pool is called as the first start was told', async () => {
  const pools = await readFile(join(folder.path, 'config/pools.yaml'), 'utf8');

  expect(pools).toContain('endpoint: http://127.0.0.1:5912\n');
  expect(pools).toContain('names: ["127.0.0.1:5911"]\n');
});
