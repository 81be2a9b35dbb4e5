import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { type RunningProcess, startProcess, waitFor } from '../../helpers/process.ts';
import { startRedis, type TestRedis } from '../../helpers/redis.ts';
import { startServer, type TestServer } from '../../helpers/server.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';
import { commitFiles, createWork, pushBase } from '../builder/farm-fixture.ts';
import { git } from '../builder/git-fixture.ts';

const program = join(import.meta.dirname, '../../../bin/brickyard.js');

describe('a server and a worker that only Redis and the store connect', () => {
  let redis: TestRedis;
  let server: TestServer;
  let worker: RunningProcess;
  let folder: TempDirectory;
  let work: string;
  beforeAll(async () => {
    folder = await createTempDirectory('serve-redis');
    redis = await startRedis({ password: 'top secret' });
    const env = { BRICKYARD_REDIS_URL: redis.url, BRICKYARD_PROCESSES: '1' };
    server = await startServer({ args: ['registry', 'builder'], env });
    const store = createFilesystemStore({ root: join(server.data, 'store') });
    await pushBase(createStoredRegistry({ store }));
    store.close();
    worker = await startProcess(process.execPath, [program, 'serve', 'worker'], {
      cwd: folder.path,
      env: { ...env, BRICKYARD_DATA: server.data },
    });
    work = await createWork(join(folder.path, 'work'));
  });
  afterAll(async () => {
    await worker?.stop();
    await server?.remove();
    await redis?.stop();
    await folder?.remove();
  });

  const push = async (text: string): Promise<string> => {
    await commitFiles(work, { 'server.js': text });
    const { stdout, stderr } = await git(work, 'push', `${server.url}/git/team/app.git`, 'main');
    return stdout + stderr;
  };

  it('builds what is pushed, and shows its log where it was pushed', async () => {
    expect(await push('console.log(1)\n')).toContain('✓ image');
    expect(await redis.command('PUBSUB', 'NUMSUB', 'brickyard:events')).toBe('brickyard:events\n2');
  });

  it('goes on without Redis, says so once, and uses it again', async () => {
    await redis.kill();
    await waitFor(() => server.output().includes('going on without it'), { what: 'the news of its end' });

    expect(await push('console.log(2)\n')).toContain('✓ image');

    await redis.restart();
    for (const program of [server, worker]) {
      await waitFor(() => program.output().includes('answers again'), { what: 'the news of its return' });
      expect(program.output().match(/going on without it/g)).toHaveLength(1);
      expect(program.output()).not.toMatch(/top secret|top%20secret/);
    }
    expect(await push('console.log(3)\n')).toContain('✓ image');
  });

  it('starts while Redis is away', async () => {
    await redis.kill();
    await worker.stop();
    worker = await startProcess(process.execPath, [program, 'serve', 'worker'], {
      cwd: folder.path,
      env: { BRICKYARD_REDIS_URL: redis.url, BRICKYARD_DATA: server.data },
    });

    expect(await push('console.log(4)\n')).toContain('✓ image');
    expect(worker.output()).toContain('going on without it');
  });
});
