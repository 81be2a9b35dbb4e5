import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNetworkLab, type NetworkLab, sweepNetworkLabs } from '../../helpers/network-lab.ts';
import { run, runOk, startProcess, waitFor } from '../../helpers/process.ts';

const bytes = 1_000_000;
const serve = `require('node:http').createServer((_, answer) => answer.end(Buffer.alloc(${bytes}))).listen(5000, () => console.log('ready'))`;

describe('the machines of a network lab', () => {
  let lab: NetworkLab;

  beforeAll(async () => {
    lab = await createNetworkLab({ nodes: 2, linkMbps: 10, nodeMbps: 1000 });
    for (const place of [lab.origin, lab.pool]) {
      const server = await place.start(process.execPath, ['-e', serve]);
      await waitFor(() => server.output().includes('ready'), { what: 'the server' });
    }
  });
  afterAll(() => lab.close());

  const fetchFrom = async (index: number, host: string): Promise<number> => {
    const format = ['--output', '/dev/null', '--write-out', '%{time_total}'];
    const output = await lab.nodes[index]?.runOk('curl', [
      '-sS',
      '--fail',
      ...format,
      `http://${host}:5000/`,
    ]);
    return Number(output);
  };

  it('nodes reach the origin over the link alone, which lets no more through than it may', async () => {
    const before = await lab.linkCount();

    const seconds = await fetchFrom(0, lab.origin.address);

    const after = await lab.linkCount();
    const payload = after.payload - before.payload;
    expect(payload).toBeGreaterThan(bytes);
    expect(payload).toBeLessThan(bytes * 1.02);
    expect(after.wire - before.wire).toBeGreaterThan(bytes * 1.04);
    // 0.8 s at 10 Mbit/s, less what may burst.
    expect(seconds).toBeGreaterThan(0.75);
  });

  it('what the pool sends a node does not touch the link', async () => {
    const before = await lab.linkCount();

    await fetchFrom(1, lab.pool.address);

    expect((await lab.linkCount()).wire - before.wire).toBeLessThan(10_000);
  });

  it('are gone with what runs in them when it is closed', async () => {
    const other = await createNetworkLab({ nodes: 1, linkMbps: 10, nodeMbps: 10 });
    const server = await other.origin.start(process.execPath, ['-e', serve]);

    await other.close();

    await server.ended;
    expect(await readdir('/run/netns')).not.toContain(other.origin.name);
    expect(existsSync(other.memory)).toBe(false);
  });

  it('are removed by the next lab when their own process is dead, and no others', async () => {
    const dead = await startProcess('true', []);
    if (dead.child.exitCode === null) await once(dead.child, 'exit');
    const left = `bylab${dead.pid}x0000-origin`;
    const foreign = `lab${dead.pid}x0000`;
    await runOk('ip', ['netns', 'add', left]);
    await runOk('ip', ['netns', 'add', foreign]);
    try {
      await sweepNetworkLabs();

      const names = await readdir('/run/netns');
      expect(names).not.toContain(left);
      expect(names).toContain(foreign);
      expect(names).toContain(lab.origin.name);
    } finally {
      await run('ip', ['netns', 'delete', foreign]);
    }
  });
});
