import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { changeVariables, writeSettings } from '../../scripts/compose/settings.ts';
import { buildGoProgram, composeProgram } from '../helpers/go-program.ts';
import { run } from '../helpers/process.ts';
import { createTempDirectory, type TempDirectory } from '../helpers/temp.ts';

// Part of `npm run test:go`: the reader of Compose v2 is a Go program, which Debian 12 does not have.
let reader: string;
let folder: TempDirectory;

beforeAll(async () => {
  const built = await buildGoProgram(composeProgram);
  if (built === undefined) throw new Error('Go is not installed here');
  reader = built;
  folder = await createTempDirectory('compose');
  await writeSettings(folder.path, {
    bind: '127.0.0.1:5911',
    poolBind: '127.0.0.1:5912',
    engineSocket: '/dev/null',
  });
  const names = ['SERVER', 'NGINX', 'REDIS', 'CEPH'].map((name) => `BRICKYARD_${name}_IMAGE`);
  await changeVariables(
    folder.path,
    Object.fromEntries(names.map((name) => [name, `${name.toLowerCase()}:1`])),
  );
});

afterAll(async () => {
  await folder?.remove();
});

it.each([
  [['docker-compose.yml'], 6],
  [['docker-compose.yml', 'docker-compose.s3.yml'], 7],
  [['docker-compose.yml', 'docker-compose.s3.yml', 'docker-compose.pool.yml'], 8],
  [['docker-compose.pool.yml'], 1],
])('Compose v2 reads %s: services', async (files, services) => {
  const read = await run(reader, ['--format=json', ...files.map((file) => join(folder.path, file))], {
    cwd: folder.path,
  });

  expect(read.stderr).toBe('');
  const project = JSON.parse(read.stdout) as { services: object };
  expect(Object.keys(project.services)).toHaveLength(services);
});
