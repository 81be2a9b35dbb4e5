import { chmod, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createRegistryClient } from '../../../oci/client.ts';
import { parseImageConfig } from '../../../oci/image-config.ts';
import { parseManifest } from '../../../oci/manifest.ts';
import type { Registry } from '../../../oci/registry.ts';
import { startServer, type TestServer } from '../../helpers/server.ts';
import { createTempDirectory } from '../../helpers/temp.ts';
import { appYaml, commitFiles, createWork, pushBase } from './farm-fixture.ts';
import { gitOk } from './git-fixture.ts';

/** One file at least for each layer, and what tells machines apart: modes, links, names that sort differently in other languages. */
async function writeApp(work: string): Promise<void> {
  await createWork(work, {
    'App.yaml': appYaml,
    'classes/Main.class': 'v1',
    'lib/spring.jar': 'library '.repeat(50_000),
    'static/logo.png': 'logo '.repeat(1000),
    'Ärger/z': 'z',
    'ärger/A': 'a',
    'run.sh': '#!/bin/sh\n',
  });
  await chmod(join(work, 'run.sh'), 0o755);
  await symlink('lib/spring.jar', join(work, 'current.jar'));
}

async function imageOf(registry: Registry, reference: string) {
  const { bytes, descriptor } = await registry.getManifest('team/app', reference);
  const manifest = parseManifest(bytes, descriptor.mediaType);
  if (manifest.config === undefined) throw new Error('no config');
  const { body } = await registry.getBlob('team/app', manifest.config.digest);
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  const { diffIds } = parseImageConfig(Buffer.concat(chunks));
  return {
    digest: descriptor.digest,
    config: manifest.config.digest,
    layers: manifest.layers.map((layer) => layer.digest),
    diffIds,
  };
}

function clientOf(server: TestServer) {
  const client = createRegistryClient({ url: server.url });
  return {
    client,
    push: (work: string) => gitOk(work, 'push', '-q', `${server.url}/git/team/app.git`, 'main'),
  };
}

describe('the same commit over the same base', () => {
  it('is the same image on a second, empty server, in another place, time zone, language and with another past', async () => {
    await using folder = await createTempDirectory('reproducible');
    const temporary = join(folder.path, 'tmp');
    await mkdir(temporary);
    const first = await startServer({ env: { TZ: 'Asia/Shanghai', LC_ALL: 'C.UTF-8', LANG: 'zh_CN.UTF-8' } });
    const second = await startServer({
      env: { TZ: 'America/Anchorage', LC_ALL: 'C', LANG: 'C', TMPDIR: temporary },
    });
    const [one, two] = [clientOf(first), clientOf(second)];
    try {
      await Promise.all([pushBase(one.client), pushBase(two.client)]);
      const work = join(folder.path, 'work');
      await writeApp(work);
      await commitFiles(work, {});
      await one.push(work);
      const commit = await commitFiles(work, { 'classes/Main.class': 'v2' });
      // The first server takes most layers from its cache and the commit from two packs; the second has neither.
      await one.push(work);
      const clone = join(folder.path, 'clone');
      await gitOk(folder.path, 'clone', '-q', '--no-local', work, clone);
      await two.push(clone);

      const tag = commit.trim().slice(0, 12);
      const [here, there] = [await imageOf(one.client, tag), await imageOf(two.client, tag)];

      expect(there).toEqual(here);
      // Of the base, of libraries, of resources, of the rest.
      expect(new Set(here.diffIds).size).toBe(4);
      const previous = (await gitOk(work, 'rev-parse', 'HEAD~1')).trim().slice(0, 12);
      const cached = await imageOf(one.client, previous);
      expect(cached.layers.slice(0, 3)).toEqual(here.layers.slice(0, 3));
      expect(cached.digest).not.toBe(here.digest);
    } finally {
      one.client.close();
      two.client.close();
      await Promise.all([first.remove(), second.remove()]);
    }
  });
});
