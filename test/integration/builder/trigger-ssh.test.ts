import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createGitHost } from '../../../builder/git/create-git-host.ts';
import type { GitHost } from '../../../builder/git/git-host.ts';
import { gitAccess } from '../../../builder/triggers/git-access.ts';
import type { TriggerRemote } from '../../../builder/triggers/trigger.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { freePort } from '../../helpers/free-port.ts';
import { runOk, waitFor } from '../../helpers/process.ts';
import { createWork } from './farm-fixture.ts';
import { createRecorder, createWorkshop, gitOk } from './git-fixture.ts';

let shop: Awaited<ReturnType<typeof createWorkshop>>;
let host: GitHost;
let sshd: ChildProcess;
let port: number;
let work: string;

beforeAll(async () => {
  shop = await createWorkshop();
  const at = (name: string): string => join(shop.path, name);
  work = await createWork(at('work'));
  for (const name of ['host', 'key', 'other']) {
    await runOk('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', at(name)]);
  }
  port = await freePort();
  await writeFile(at('authorized'), await readFile(at('key.pub')));
  const knownAs = async (name: string): Promise<string> =>
    `[localhost]:${port} ${await readFile(at(name), 'utf8')}`;
  await writeFile(at('known'), await knownAs('host.pub'));
  await writeFile(at('wrong'), await knownAs('other.pub'));
  await writeFile(
    at('sshd_config'),
    [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${at('host')}`,
      `AuthorizedKeysFile ${at('authorized')}`,
      `PidFile ${at('sshd.pid')}`,
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'PermitRootLogin prohibit-password',
    ].join('\n'),
  );
  // As root it wants this folder, which its service makes elsewhere.
  if (userInfo().uid === 0) await mkdir('/run/sshd', { recursive: true });
  sshd = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', at('sshd_config')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  sshd.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await waitFor(async () => said.includes('Server listening') || undefined, {
    what: 'sshd',
    timeoutMs: 30_000,
  });
  host = await createGitHost({ ...shop, listener: createRecorder(), log: createSilentLogger() });
});

afterAll(async () => {
  const ended = once(sshd, 'exit');
  sshd.kill();
  await ended;
  await host.close();
  await shop[Symbol.asyncDispose]();
});

async function fetch(knownHosts: string, key: string) {
  const remote: TriggerRemote = {
    url: `ssh://${userInfo().username}@localhost:${port}${work}/.git`,
    privateNetwork: true,
    ssh: { keyFile: join(shop.path, key), knownHostsFile: join(shop.path, knownHosts) },
  };
  const [result] = await host.fetchRefs(
    {
      team: 'team',
      app: 'app',
      pusher: 'test',
      options: [],
      refs: [{ from: 'refs/heads/main', to: 'refs/heads/main' }],
    },
    {
      ...(await gitAccess(remote)),
      limits: { bytes: 1e9, objects: 1e6, milliseconds: 60_000 },
    },
    new AbortController().signal,
  );
  return result;
}

describe('a repository over ssh', () => {
  it('is fetched with the key and the host key of its trigger, by its name at the address that was looked up', async () => {
    const commit = (await gitOk(work, 'rev-parse', 'HEAD')).trim();

    expect(await fetch('known', 'key')).toMatchObject({ outcome: 'moved', tip: commit });
  });

  it('that shows another host key is not spoken to', async () => {
    await expect(fetch('wrong', 'key')).rejects.toThrow(/its host key is not in knownHostsFile/);
  });

  it('that does not know the key says so', async () => {
    await expect(fetch('known', 'other')).rejects.toThrow(/it was not let in: check the key/);
  });
});
