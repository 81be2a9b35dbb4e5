import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../../cli/main.ts';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { createRegistryClient } from '../../../oci/client.ts';
import { pointerKey } from '../../../registry/store/paths.ts';
import { pushContent } from '../../helpers/content.ts';
import { startServer, type TestServer } from '../../helpers/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.remove());

async function verify(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  const code = await run(['verify', ...args], {
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    cwd: server.data,
    env: { BRICKYARD_DATA: server.data },
  });
  return { code, stdout, stderr };
}

describe('brickyard verify', () => {
  it('reads the store of a running server, and ends with 1 when something is damaged', async () => {
    const registry = createRegistryClient({ url: server.url });
    const layer = Buffer.alloc(30_000, 'layer');
    const content = { blobs: { layer }, manifests: { image: { layers: ['layer'] } }, tags: { v1: 'image' } };
    const pushed = await pushContent(registry, { 'team/app': content });
    registry.close();

    const clean = await verify('--bytes');
    expect(clean).toMatchObject({ code: 0, stdout: expect.stringMatching(/nothing is damaged\n$/) });
    expect(clean.stdout).toContain('1 repositories, 1 manifests, 1 tags');

    const store = createFilesystemStore({ root: join(server.data, 'store') });
    await store.delete(pointerKey(pushed['team/app'].blobs.layer.digest));
    store.close();

    const json = await verify('--json');
    expect(json).toMatchObject({ code: 1, stderr: 'brickyard: one thing is damaged\n' });
    expect(JSON.parse(json.stdout)).toMatchObject({
      findings: expect.arrayContaining([
        expect.objectContaining({ severity: 'damage', kind: 'missing-child' }),
      ]),
      severities: { damage: 1 },
    });
  });

  it('refuses numbers that are none', async () => {
    expect(await verify('--rate', 'fast')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--rate is a whole number/),
    });
  });
});
