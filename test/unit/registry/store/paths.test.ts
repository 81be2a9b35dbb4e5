import { expect, it } from 'vitest';
import { digestOf } from '../../../../oci/digest.ts';
import * as paths from '../../../../registry/store/paths.ts';

const blob = digestOf('blob');
const manifest = digestOf('manifest', 'sha512');
const hex = blob.slice('sha256:'.length);

it.each([
  [paths.dataKey('ab12'), 'data/ab/ab12'],
  [paths.pointerKey(blob), `blobs/sha256/${hex}`],
  [paths.linkKey('t/a', blob), `repos/t/a/_blobs/${blob}`],
  [paths.manifestKey('t/a', manifest), `repos/t/a/_manifests/${manifest}`],
  [paths.tagKey('t/a', '_v1'), 'repos/t/a/_tags/_v1'],
  [paths.tagOfKey('t/a', manifest, 'v1', 'n'), `repos/t/a/_tagsof/${manifest}/v1#n`],
  [paths.referrerKey('t/a', blob, manifest, 'a'), `repos/t/a/_referrers/${blob}/${manifest}#a`],
  [paths.manifestReferenceKey('t/a', blob, manifest, 'a'), `repos/t/a/_mrefs/${blob}/${manifest}#a`],
  [paths.blobReferenceKey(blob, manifest, 'a', 't/a'), `refs/sha256/${hex}/${manifest}#a/t/a`],
  [paths.catalogKey('t/a'), 'catalog/t/a'],
  [paths.uploadKey('id'), 'uploads/id'],
])('%s is where the storage design puts it', (key, expected) => {
  expect(key).toBe(expected);
});

it('every key part fits a file name and every key an object store, at the longest names', () => {
  const repository = 'r'.repeat(255);
  const tag = 't'.repeat(128);
  const id = 'a'.repeat(32);

  const keys = [
    paths.tagOfKey(repository, manifest, tag, id),
    paths.referrerKey(repository, manifest, manifest, id),
    paths.manifestReferenceKey(repository, manifest, manifest, id),
    paths.blobReferenceKey(manifest, manifest, id, repository),
  ];

  for (const key of keys) {
    expect(Buffer.byteLength(key)).toBeLessThanOrEqual(1024);
    for (const part of key.split('/')) expect(Buffer.byteLength(part)).toBeLessThanOrEqual(255);
  }
});
