import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { brickyard } from '../../helpers/brickyard-command.ts';
import { requirePrograms } from '../../helpers/dockerd.ts';
import { freePort } from '../../helpers/free-port.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

let home: TempDirectory;
let agent: Server;
beforeAll(async () => {
  home = await createTempDirectory('pool-ls');
  agent = createServer((_request, response) => {
    const health = {
      pool: 'near',
      engine: { kind: 'nginx', state: 'up', url: 'http://127.0.0.1:1' },
      origin: { state: 'away' },
      cache: { entries: 3, bytes: 12_000_000, maxSize: 1 },
    };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(health));
  });
  agent.listen(0, '127.0.0.1');
  await once(agent, 'listening');
  const { port } = agent.address() as AddressInfo;
  const entry = (name: string, agentPort: number): string =>
    `- {name: ${name}, listen: "127.0.0.1:5081", agent: {listen: "127.0.0.1:${agentPort}"}, origin: {urls: ["https://reg.test"], credential: "file:none"}}\n`;
  const text = `pools:\n${entry('near', port)}${entry('other', port)}${entry('far', await freePort())}`;
  await writeFile(join(home.path, 'pools.yaml'), text);
});
afterAll(async () => {
  agent.close();
  agent.closeAllConnections();
  await home.remove();
});

const run = (...args: string[]): ReturnType<typeof brickyard> =>
  brickyard(['pool', ...args], { home: home.path });

describe('pool ls', () => {
  it('tells the state of pools whose agents answer, and takes no agent for another’s', async () => {
    const { code, stdout } = await run('ls');

    expect(code).toBe(0);
    expect(stdout.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['NAME', 'ENDPOINT', 'ENGINE', 'ORIGIN', 'CACHE', 'USED', 'STATE', 'ORIGIN IS'],
      ['near', 'http://127.0.0.1:5081', 'nginx', 'https://reg.test', '53.7 GB', '12.0 MB', 'up', 'away'],
      ['other', 'http://127.0.0.1:5081', 'nginx', 'https://reg.test', '53.7 GB', '-', 'away', '-'],
      ['far', 'http://127.0.0.1:5081', 'nginx', 'https://reg.test', '53.7 GB', '-', 'away', '-'],
      [''],
    ]);
  });

  it('prints JSON for machines', async () => {
    const { stdout } = await run('ls', '--json');

    expect(JSON.parse(stdout)).toMatchObject([
      { name: 'near', state: 'up', origin: 'away', cachedBytes: 12_000_000 },
      { name: 'other', state: 'away' },
      { name: 'far', state: 'away' },
    ]);
  });
});

describe('pool render', () => {
  it('prints a configuration that this machine’s nginx would start with', async () => {
    await requirePrograms(['/usr/sbin/nginx']);

    const { code, stdout, stderr } = await run('render', 'near', '--check');

    expect(stderr).toBe('nginx -t: good\n');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^# Pool near:/);
    expect(stdout).toContain('auth_request /_authz;');
  });

  it('asks which pool where there are several', async () => {
    const { code, stderr } = await run('render');

    expect(code).toBe(2);
    expect(stderr).toContain('which pool? the pools are near, other, far');
  });
});
