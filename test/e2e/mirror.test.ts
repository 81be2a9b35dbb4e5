import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RegistryClient, sampleFiles, startClient } from '../helpers/clients.ts';
import type { RunResult } from '../helpers/process.ts';
import { startServer, type TestServer } from '../helpers/server.ts';

const registryOnly = { args: ['registry'] } as const;
let upstream: TestServer;
let mirror: TestServer;

beforeAll(async () => {
  upstream = await startServer(registryOnly);
  const mirrors = [{ prefix: 'up.test', upstream: upstream.url, insecureHttp: true, revalidate: 0 }];
  mirror = await startServer({ ...registryOnly, env: { BRICKYARD_MIRRORS: JSON.stringify(mirrors) } });
});

afterAll(async () => {
  await mirror?.remove();
  await upstream?.remove();
});

describe.each(['docker', 'podman', 'skopeo'] as const)('%s', (name) => {
  let client: RegistryClient;

  beforeAll(async () => {
    client = await startClient(name);
  });

  afterAll(async () => {
    await client?.stop();
  });

  it('pulls through the mirror, again when the upstream is away, and is told why it cannot push there', async () => {
    const mirrored = `${mirror.host}/up.test/${name}/image:v1`;
    const config = await client.createImage('image', sampleFiles());
    expect(outcome(await client.push('image', `${upstream.host}/${name}/image:v1`))).toBe('0');

    expect(outcome(await client.pull(mirrored))).toBe('0');
    expect(await client.pulledConfig(mirrored)).toBe(config);

    const { data, port } = upstream;
    await upstream.stop();
    expect(outcome(await client.pull(mirrored))).toBe('0');
    expect(await client.pulledConfig(mirrored)).toBe(config);
    upstream = await startServer({ ...registryOnly, data, port });

    await client.createImage('image', sampleFiles());
    const pushed = await client.push('image', mirrored);
    expect(pushed.code).not.toBe(0);
    expect(pushed.stderr + pushed.stdout).toContain('takes no pushes or deletes');
  });
});

/** `0`, or everything the program said. */
function outcome({ code, stdout, stderr }: RunResult): string {
  return code === 0 ? '0' : `${code}\n${stdout}${stderr}`;
}
