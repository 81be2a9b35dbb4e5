import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStorageFiles } from '../../../../cli/import/storage-files.ts';
import { createStorageRegistry, type StorageRegistry } from '../../../../cli/import/storage-registry.ts';
import {
  listStorageManifests,
  listStorageRepositories,
} from '../../../../cli/import/storage-repositories.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import { createStorageFolder, type StorageFolder } from '../../../helpers/storage-folder.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

let place: TempDirectory;
let folder: StorageFolder;
let notices: string[];
beforeEach(async () => {
  place = await createTempDirectory('storage');
  folder = await createStorageFolder(join(place.path, 'store'));
  notices = [];
});
afterEach(() => place.remove());

async function open(below = ''): Promise<StorageRegistry> {
  return createStorageRegistry(await openStorageFiles(join(folder.path, below)), (notice) =>
    notices.push(notice),
  );
}

describe("docker-registry's storage folder as a registry", () => {
  it.each(['', 'docker', 'docker/registry', 'docker/registry/v2'])('is found from "%s"', async (below) => {
    const { layer } = await folder.image('team/app', '1', 'a layer');

    const { body, size } = await (await open(below)).getBlob('team/app', layer);

    expect([size, (await buffer(body)).toString()]).toEqual([7, 'a layer']);
  });

  it('serves ranges, so that an upload goes on where it stood', async () => {
    const { layer } = await folder.image('team/app', '1', 'a layer');

    const { body, size } = await (await open()).getBlob('team/app', layer, { start: 2, end: 6 });

    expect([size, (await buffer(body)).toString()]).toEqual([7, 'layer']);
    await expect((await open()).getBlob('team/app', layer, { start: 7, end: 9 })).rejects.toThrow(/range/);
  });

  it('serves an empty blob', async () => {
    const digest = await folder.blob('team/app', '');

    const { body, size } = await (await open()).getBlob('team/app', digest);

    expect([size, (await buffer(body)).length]).toEqual([0, 0]);
  });

  it('shows a blob to the repositories that have it only', async () => {
    const { layer, digest } = await folder.image('team/app', '1', 'a layer');
    await folder.image('team/other', '1', 'another');
    const registry = await open();

    await expect(registry.getBlob('team/other', layer)).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
    await expect(registry.getManifest('team/other', digest)).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    });
  });

  it('never takes what cannot be read for something that is not there', async () => {
    const { layer } = await folder.image('team/app', '1', 'a layer');
    const registry = await open();
    const { digest } = (await registry.getManifest('team/app', '1')).descriptor;
    await rm(folder.dataPath(layer));
    await rm(folder.dataPath(digest));

    await expect(registry.getBlob('team/app', layer)).rejects.toMatchObject({ code: 'UNKNOWN' });
    await expect(registry.getManifest('team/app', '1')).rejects.toMatchObject({ code: 'UNKNOWN' });
  });

  it('fails at the end of a blob whose bytes are wrong', async () => {
    const { layer } = await folder.image('team/app', '1', 'a layer');
    await writeFile(folder.dataPath(layer), 'b layer');

    const { body } = await (await open()).getBlob('team/app', layer);

    await expect(buffer(body)).rejects.toMatchObject({ code: 'DIGEST_INVALID' });
  });

  it.each([
    [{ schemaVersion: 2, mediaType: mediaTypes.dockerManifest }, mediaTypes.dockerManifest],
    [{ schemaVersion: 2, config: {} }, mediaTypes.ociManifest],
    [{ schemaVersion: 2, manifests: [] }, mediaTypes.ociIndex],
    [{ schemaVersion: 1, fsLayers: [] }, 'application/vnd.docker.distribution.manifest.v1+prettyjws'],
  ])('tells the media type of %j from its content', async (document, mediaType) => {
    await folder.manifest('team/app', JSON.stringify(document), 'x');

    const { descriptor } = await (await open()).getManifest('team/app', 'x');

    expect(descriptor.mediaType).toBe(mediaType);
  });

  it('finds signatures, which have no tag, and pages them', async () => {
    const { digest } = await folder.image('team/app', '1', 'a layer');
    const signatures = [];
    for (const name of ['a', 'b', 'c']) {
      const subject = { mediaType: mediaTypes.ociManifest, digest, size: 1 };
      signatures.push(await folder.manifest('team/app', JSON.stringify({ schemaVersion: 2, name, subject })));
    }
    const damaged = await folder.manifest('team/app', 'damaged');
    await writeFile(folder.dataPath(damaged), 'otherwise');
    const registry = await open();

    const first = await registry.listReferrers('team/app', digest, { limit: 2 });
    const rest = await registry.listReferrers('team/app', digest, { limit: 2, last: first.next ?? '' });

    expect([...first.entries, ...rest.entries].map((entry) => entry.digest)).toEqual(signatures.toSorted());
    expect(rest.next).toBeUndefined();
    expect(notices).toEqual([expect.stringContaining(`team/app@${damaged} cannot be read`)]);
  });

  it('lists tags in pages, and manifests that were not deleted', async () => {
    const { digest } = await folder.image('team/app', '10', 'a');
    await folder.image('team/app', '2', 'b');
    await folder.image('team/app', 'latest', 'c');
    const registry = await open();
    const gone = await folder.manifest('team/app', 'gone');
    await rm(folder.repositoryPath('team/app/_manifests/revisions/sha256', gone.slice(7), 'link'));

    const page = await registry.listTags('team/app', { limit: 2 });
    const files = await openStorageFiles(folder.path);
    const manifests = [];
    for await (const each of listStorageManifests(files, 'team/app')) manifests.push(each);

    expect(page).toEqual({ entries: ['10', '2'], next: '2' });
    expect((await registry.listTags('team/app', { limit: 2, last: '2' })).entries).toEqual(['latest']);
    expect(manifests).toHaveLength(3);
    expect(manifests).toContain(digest);
  });

  it('lists repositories, also those within others, and follows no link', async () => {
    await folder.image('team', '1', 'a');
    await folder.image('team/app/web', '1', 'b');
    await mkdir(folder.repositoryPath('empty'), { recursive: true });
    await symlink(folder.repositoryPath('team'), folder.repositoryPath('again'));
    const files = await openStorageFiles(folder.path);

    const names = await listStorageRepositories(files, (notice) => notices.push(notice));

    expect(names).toEqual(['team', 'team/app/web']);
    expect(notices).toEqual(['repositories/again is a symbolic link: not followed']);
  });

  it('reads a folder behind a link, but not one whose parts lie elsewhere', async () => {
    const { layer } = await folder.image('team/app', '1', 'a layer');
    await symlink(folder.path, join(place.path, 'link'));
    const linked = createStorageRegistry(await openStorageFiles(join(place.path, 'link')));
    expect((await linked.resolveBlob('team/app', layer)).size).toBe(7);

    const half = join(place.path, 'half/v2');
    await mkdir(join(half, 'repositories'), { recursive: true });
    await symlink(join(folder.path, 'docker/registry/v2/blobs'), join(half, 'blobs'));
    await expect(openStorageFiles(half)).rejects.toThrow(/blobs leads out of the folder by a symbolic link/);
  });

  it('has no tag for a link that points at another digest', async () => {
    const { digest } = await folder.image('team/app', '1', 'a');
    await writeFile(
      folder.repositoryPath('team/app/_manifests/revisions/sha256', digest.slice(7), 'link'),
      digestOf('b'),
    );

    await expect((await open()).getManifest('team/app', '1')).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    });
  });
});
