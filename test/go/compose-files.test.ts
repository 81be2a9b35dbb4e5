import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { changeVariables, writeSettings } from '../../scripts/compose/settings.ts';
import { readVariables } from '../../scripts/compose/variables.ts';
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
  // The library's own program fills in no variables, so here they are filled in before.
  const names = ['SERVER', 'NGINX', 'REDIS', 'CEPH'].map((name) => `BRICKYARD_${name}_IMAGE`);
  await changeVariables(
    folder.path,
    Object.fromEntries(names.map((name) => [name, `${name.toLowerCase()}:1`])),
  );
  const variables = readVariables(await readFile(join(folder.path, '.env'), 'utf8'));
  for (const file of await readdir(folder.path)) {
    if (!file.endsWith('.yml')) continue;
    const text = await readFile(join(folder.path, file), 'utf8');
    const filled = text.replace(
      /\$\{([A-Z0-9_]+)(?::-([^}]*)|:\?[^}]*)?\}/g,
      (_, name: string, otherwise?: string) => variables[name] ?? otherwise ?? '',
    );
    await writeFile(join(folder.path, file), filled);
  }
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
