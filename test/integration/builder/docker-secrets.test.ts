import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDockerEngine, type DockerEngine } from '../../../builder/engines/docker.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { startDockerd } from '../../helpers/dockerd.ts';
import { startPodman } from '../../helpers/podman.ts';
import { run, runOk } from '../../helpers/process.ts';
import { createBusyboxImage } from './docker-fixtures.ts';
import type { TestContainerEngine } from './docker-sandbox-suite.ts';
import { commitFiles, createWork, type Farm, startFarm } from './farm-fixture.ts';
import { createWorkshop, git } from './git-fixture.ts';

const token = 'npm_S3cr3t/Value+0123456789';
const owner = 'team/app';

const appYaml = (build: string, more = ''): string =>
  `appname: app\nbase: busybox:latest\nbuild:\n  network: none\n  secrets: [npm-token]\n${build}${more}entrypoints:\n  web:\n    cmd: cat\n`;

describe.each([
  ['Docker', startDockerd],
  ['Podman', startPodman],
] as [string, () => Promise<TestContainerEngine>][])('in %s', (_, start) => {
  let container: TestContainerEngine;
  let engine: DockerEngine;
  let shop: Awaited<ReturnType<typeof createWorkshop>>;
  let farm: Farm;
  let work: string;

  beforeAll(async () => {
    container = await start();
    shop = await createWorkshop();
    const registry = createStoredRegistry({ store: shop.store });
    const busybox = await createBusyboxImage();
    for (const blob of [busybox.config, ...busybox.layers])
      await registry.putBlob('baseimages/busybox', digestOf(blob), blob);
    await registry.putManifest('baseimages/busybox', 'latest', busybox.manifest, mediaTypes.ociManifest);
    const { socketPath: socket } = container;
    const found = await createDockerEngine({ socket, registry, log: createSilentLogger() });
    if (found === undefined) throw new Error(container.output());
    engine = found;
    const secretsKey = Buffer.alloc(32, 7).toString('base64');
    farm = await startFarm({ ...shop, sandbox: engine.sandbox, secretsKey });
    await farm.builder.secrets.set(owner, 'npm-token', Buffer.from(token), 'alice');
    work = await createWork(join(shop.path, 'work'), { 'App.yaml': 'appname: app\n' });
  });

  afterAll(async () => {
    await farm?.close();
    await engine?.close();
    await container?.stop();
    await shop?.[Symbol.asyncDispose]();
  });

  async function push(files: Readonly<Record<string, string>>): Promise<string> {
    await commitFiles(work, files);
    const { stdout, stderr } = await git(work, 'push', '-f', `${farm.url}/git/${owner}.git`, 'main');
    return stdout + stderr;
  }

  describe('row 22: the secret of a build', () => {
    it('is a file that its commands alone can read, and is nowhere else', async () => {
      const commands = [
        'ls -ln /run/secrets | sed -n 2p',
        'wc -c < /run/secrets/npm-token',
        'cat /run/secrets/npm-token; echo; cat /run/secrets/npm-token >&2',
        '(echo x > /run/secrets/other) 2>/dev/null || echo nothing written',
        'env; echo done > out.txt',
      ];
      const test =
        'test:\n  network: none\n  commands: ["ls /run/secrets || echo not for tests", "cp in.txt report.xml"]\n  artifacts: [report.xml]\n';

      const log = await push({
        'App.yaml': appYaml(
          `  commands: ${JSON.stringify(commands)}\n  outputs: {out.txt: /home/app/}\n`,
          test,
        ),
        'in.txt': `a report with ${Buffer.from(`user:${token}`).toString('base64')} in it`,
      });

      expect(log).toContain('✓ image');
      expect(log).toMatch(/-r-------- +1 10001 +10001 +27 .*npm-token/);
      expect(log).toContain('nothing written');
      expect(log).toContain('not for tests');
      expect(log.match(/│ \*\*\*/g)).toHaveLength(2);
      expect(log).not.toContain(token);
      const [build] = await farm.builder.builds.list();
      const report = await farm.builder.builds.artifacts.get(build?.id ?? '', 'report.xml');
      expect(report?.toString()).toMatch(/^a report with .{0,8}\*\*\*.{0,2} in it$/);
      // Neither logs, nor records, config, history or artifacts; git alone keeps what was committed, compressed.
      const kept = await run('grep', ['-rlaF', '-e', token, '-e', token.slice(4), shop.storeRoot]);
      expect(kept).toMatchObject({ code: 1, stdout: '' });
      const left = await runOk('docker', ['volume', 'ls', '--quiet'], { env: container.env });
      expect(left).toBe('');
    });

    it('among the outputs fails the build before there is an image, and names the file', async () => {
      const log = await push({
        'App.yaml': appYaml(
          '  commands: ["echo token=$(cat /run/secrets/npm-token) > .npmrc"]\n',
          'test: {network: none, commands: ["false"]}\n',
        ),
      });

      expect(log).toContain('✗ output ".npmrc" holds the secret "npm-token": remove it');
      expect(log).not.toContain(token);
      expect(log).not.toContain('✓ image');
    });

    it('that nobody has set is a fault with its place', async () => {
      const log = await push({
        'App.yaml': appYaml('  commands: ["true"]\n').replace('[npm-token]', '[npm-token, nexus]'),
      });

      expect(log).toContain('App.yaml:5:24 error E025 build.secrets[1]: team/app has no secret "nexus"');
      expect(log).toContain('run "brickyard secret set team/app nexus"');
    });
  });
});
