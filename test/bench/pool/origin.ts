import { readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { hash } from 'bcryptjs';
import type { NetworkLab } from '../../helpers/network-lab.ts';
import { waitFor } from '../../helpers/process.ts';
import type { BenchImage } from './image.ts';

export interface Account {
  readonly username: string;
  readonly password: string;
}

/** The registry that the pool is in front of, with accounts: whoever builds, the pool's own, and the nodes'. */
export interface BenchOrigin {
  readonly host: string;
  readonly pool: Account;
  readonly node: Account;
  push(image: BenchImage, reference: string): Promise<void>;
  /** What it was asked since the last call. */
  requests(): Promise<readonly OriginRequest[]>;
  stop(): Promise<void>;
}

export interface OriginRequest {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** That it sent, headers included. */
  readonly bytes: number;
  readonly client: string;
}

export const program = resolve(import.meta.dirname, '../../../bin/brickyard.js');
const port = 5000;

export async function startOrigin(lab: NetworkLab, folder: string): Promise<BenchOrigin> {
  await mkdir(folder, { recursive: true });
  const builder: Account = { username: 'builder', password: 'builder of benches' };
  const pool: Account = { username: 'pool', password: 'pool of benches' };
  const node: Account = { username: 'node', password: 'node of benches' };
  const accounts = join(folder, 'accounts');
  const lines: string[] = [];
  for (const { username, password } of [builder, pool, node]) {
    lines.push(`${username}:${await hash(password, 4)}\n`);
  }
  await writeFile(accounts, lines.join(''));
  const host = `${lab.origin.address}:${port}`;
  const log = join(folder, 'log');
  // Its log goes to a file: what it prints is kept to the last 256 KiB.
  const words = ['exec "$0" "$@" 2>>"$LOG" >>"$LOG"', process.execPath, program, 'serve', 'registry'];
  const server = await lab.origin.start('sh', ['-c', ...words], {
    cwd: folder,
    env: {
      LOG: log,
      BRICKYARD_LISTEN: host,
      BRICKYARD_DATA: join(folder, 'data'),
      BRICKYARD_AUTH_HTPASSWD: accounts,
      BRICKYARD_AUTH_RULES: JSON.stringify([
        { repositories: '**', users: [builder.username], actions: ['admin'] },
        { repositories: '**', users: [pool.username], actions: ['pull'] },
        { repositories: 'team/**', users: [node.username], actions: ['pull'] },
      ]),
      BRICKYARD_REGISTRY_POOLS_ACCOUNTS: pool.username,
      BRICKYARD_LOG_ACCESS: 'true',
    },
  });
  let ended = false;
  void server.ended.then(() => {
    ended = true;
  });
  const text = (): Promise<string> => readFile(log, 'utf8').catch(() => '');
  await waitFor(async () => (await text()).includes('listening on'), {
    what: 'the origin',
    gaveUp: () => (ended ? `it ended:\n${readFileSync(log, 'utf8').slice(-4000)}` : undefined),
  });
  let read = 0;
  return {
    host,
    pool,
    node,
    async push(image, reference) {
      const credentials = `--dest-creds=${builder.username}:${builder.password}`;
      const target = `docker://${host}/${reference}`;
      // By itself it would compress layers on their way.
      const options = ['--preserve-digests', '--dest-tls-verify=false', credentials];
      await lab.origin.runOk('skopeo', ['copy', ...options, `dir:${image.folder}`, target], {
        timeoutMs: 300_000,
      });
    },
    async requests() {
      const lines = (await text()).split('\n');
      const fresh = lines.slice(read, -1);
      read += fresh.length;
      return fresh.filter((line) => line.includes('"msg":"request"')).map((line) => parseRequest(line));
    },
    stop: () => server.stop('SIGTERM'),
  };
}

function parseRequest(line: string): OriginRequest {
  const {
    method = '',
    path = '',
    status = 0,
    bytes = 0,
    client = '',
  } = JSON.parse(line) as Partial<OriginRequest>;
  return { method, path, status, bytes, client };
}
