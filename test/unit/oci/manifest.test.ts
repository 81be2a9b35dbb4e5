import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../oci/digest.ts';
import type { OciErrorCode } from '../../../oci/errors.ts';
import { childrenOf, maxManifestBytes, parseManifest, referrerDescriptor } from '../../../oci/manifest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';

const descriptor = { mediaType: 'application/x', digest: digestOf('a'), size: 1 };
const image = {
  schemaVersion: 2,
  mediaType: mediaTypes.ociManifest,
  config: descriptor,
  layers: [descriptor],
};
const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] as object[] };
const { mediaType: _, ...untyped } = image;

function parse(document: unknown, contentType = '') {
  const text = typeof document === 'string' ? document : JSON.stringify(document);
  return parseManifest(Buffer.from(text), contentType);
}

describe('parseManifest takes', () => {
  it.each([
    ['an OCI image', image, mediaTypes.ociManifest],
    ['an OCI image without Content-Type', image, ''],
    ['an OCI image without mediaType', untyped, mediaTypes.ociManifest],
    ['a Content-Type with parameters', image, `${mediaTypes.ociManifest}; charset=utf-8`],
    [
      'a Docker schema 2 image',
      { ...image, mediaType: mediaTypes.dockerManifest },
      mediaTypes.dockerManifest,
    ],
    ['an index', { ...index, manifests: [descriptor] }, mediaTypes.ociIndex],
    ['an empty index', index, mediaTypes.ociIndex],
    ['a Docker manifest list', { ...index, mediaType: mediaTypes.dockerManifestList }, ''],
    ['an image without layers', { ...image, layers: [] }, ''],
    ['null where Go writes it for an empty list', { ...image, layers: null, annotations: null }, ''],
    ['any artifact type', { ...image, artifactType: 'application/vnd.example+type' }, ''],
    ['a subject that may be absent', { ...image, subject: { ...descriptor, digest: digestOf('s') } }, ''],
    ['embedded data', { ...image, config: { ...descriptor, data: 'YQ==' } }, ''],
    ['unknown fields', { ...image, org: { deep: [1, { a: null }] }, config: { ...descriptor, x: 1 } }, ''],
    ['sha512 digests', { ...image, layers: [{ ...descriptor, digest: digestOf('a', 'sha512') }] }, ''],
    ['lone surrogates in text', `${JSON.stringify(image).slice(0, -1)},"annotations":{"a":"\\ud800"}}`, ''],
    ['equal names in different objects', { ...image, annotations: { size: '1', Layers: '2' } }, ''],
  ])('%s', (_name, document, contentType) => {
    expect(parse(document, contentType).kind).toMatch(/^(image|index)$/);
  });

  it('a key __proto__ as a field like any other, without believing what it holds', () => {
    const text = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: descriptor });
    const hidden = `${text.slice(0, -1)},"__proto__":{"layers":[{"mediaType":"x"}],"subject":5},"annotations":{"__proto__":"a","constructor":"b"}}`;

    const manifest = parse(hidden);

    expect(manifest.layers).toEqual([]);
    expect(manifest.subject).toBeUndefined();
    expect(JSON.stringify(manifest.annotations)).toBe('{"__proto__":"a","constructor":"b"}');
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });
});

describe('parseManifest refuses', () => {
  const text = JSON.stringify(image);
  const layer = (fields: object): object => ({ ...image, layers: [{ ...descriptor, ...fields }] });

  it.each([
    ['Content-Type that differs from mediaType', image, mediaTypes.ociIndex],
    ['Content-Type that differs within images', image, mediaTypes.dockerManifest],
    ['layers and manifests', { ...image, manifests: [] }, ''],
    ['an index with layers', { ...index, layers: [] }, ''],
    ['an index with a config', { ...index, config: descriptor }, ''],
    ['an untyped document with layers and manifests', { ...untyped, manifests: [] }, mediaTypes.ociManifest],
    ['no media type at all', untyped, ''],
    ['an unknown media type', { ...image, mediaType: 'application/json' }, ''],
    ['Docker schema 1', { schemaVersion: 1, name: 'x', fsLayers: [] }, 'application/json'],
    ['Docker schema 1 with signature', image, 'application/vnd.docker.distribution.manifest.v1+prettyjws'],
    ['another schema version', { ...image, schemaVersion: '2' }, ''],
    ['an image without config', { ...image, config: undefined }, ''],
    ['layers that are no list', { ...image, layers: { 0: descriptor } }, ''],
    ['a layer that is null', { ...image, layers: [null] }, ''],
    ['a negative size', layer({ size: -1 }), ''],
    ['a fractional size', layer({ size: 1.5 }), ''],
    ['a size as text', layer({ size: '1' }), ''],
    ['a size that is no number', text.replace('"size":1', '"size":NaN'), ''],
    ['a size beyond 2^53', text.replace('"size":1', '"size":9007199254740993'), ''],
    ['an infinite size', text.replace('"size":1', '"size":1e999'), ''],
    ['a digest in upper case', layer({ digest: descriptor.digest.toUpperCase() }), ''],
    ['a short digest', layer({ digest: descriptor.digest.slice(0, -1) }), ''],
    ['a digest of another algorithm', layer({ digest: `md5:${'a'.repeat(32)}` }), ''],
    ['a digest that climbs', layer({ digest: 'sha256:../../x' }), ''],
    ['a descriptor without media type', layer({ mediaType: undefined }), ''],
    ['a media type without end', layer({ mediaType: 'a'.repeat(300) }), ''],
    ['annotations that are no text', { ...image, annotations: { a: 1 } }, ''],
    ['annotations that are a list', { ...image, annotations: ['a'] }, ''],
    ['a subject that is no descriptor', { ...image, subject: 'sha256:x' }, ''],
    ['a name that occurs twice', `${text.slice(0, -1)},"layers":[]}`, ''],
    ['a name that occurs twice in two spellings', `${text.slice(0, -1)},"l\\u0061yers":[]}`, ''],
    ['a name in another case', { ...image, Layers: [] }, ''],
    ['a descriptor name in another case', layer({ Digest: digestOf('b') }), ''],
    ['a list instead of an object', [image], ''],
    ['null', 'null', ''],
    ['no JSON', '{"schemaVersion": 2,', ''],
    ['nothing', '', ''],
    ['a byte order mark', `\uFEFF${text}`, ''],
    ['more behind the end', `${text}{}`, ''],
    ['nesting without end', '['.repeat(100_000), ''],
    [
      'nesting without end in a field',
      `${text.slice(0, -1)},"x":${'{"a":'.repeat(9000)}1${'}'.repeat(9000)}}`,
      '',
    ],
  ])('%s', (_name, document, contentType) => {
    expectCode('MANIFEST_INVALID', () => parse(document, contentType));
  });

  it('bytes that are not UTF-8', () => {
    const bytes = Buffer.from(text.replace('application/x', 'application/\u00e9'), 'latin1');

    expectCode('MANIFEST_INVALID', () => parseManifest(bytes, ''));
  });

  it('more than 4 MiB, and takes exactly 4 MiB', () => {
    const frame = JSON.stringify({ ...image, annotations: { a: '' } });
    const fill = 'x'.repeat(maxManifestBytes - frame.length);
    const largest = frame.replace('"a":""', `"a":"${fill}"`);

    expect(parse(largest).kind).toBe('image');
    expectCode('SIZE_TOO_LARGE', () => parse(`${largest} `));
  });
});

describe('childrenOf', () => {
  it('names every child once, and tells blobs from manifests and from layers that live elsewhere', () => {
    const foreign = { ...descriptor, mediaType: mediaTypes.dockerForeignLayer, digest: digestOf('f') };
    const nested = { ...descriptor, mediaType: mediaTypes.ociManifest, digest: digestOf('m') };
    const cache = { ...descriptor, mediaType: mediaTypes.ociLayerGzip, digest: digestOf('c') };

    const ofImage = childrenOf(parse({ ...image, layers: [descriptor, foreign, descriptor] }));
    const ofIndex = childrenOf(parse({ ...index, manifests: [nested, cache, nested] }));

    expect(ofImage).toEqual({ blobs: [descriptor.digest], optionalBlobs: [foreign.digest], manifests: [] });
    expect(ofIndex).toEqual({ blobs: [cache.digest], optionalBlobs: [], manifests: [nested.digest] });
  });
});

describe('referrerDescriptor', () => {
  it.each([
    ['its artifact type', { ...image, artifactType: 'a/b' }, 'a/b'],
    ['its config’s type where it has none', image, descriptor.mediaType],
    ['its config’s type where it is empty', { ...image, artifactType: '' }, descriptor.mediaType],
    ['none for an index without one', index, undefined],
  ])('says %s', (_name, document, expected) => {
    const referrer = referrerDescriptor(parse(document), descriptor.digest, 7);

    expect(referrer.artifactType).toBe(expected);
    expect(referrer).toMatchObject({ digest: descriptor.digest, size: 7 });
  });
});

function expectCode(code: OciErrorCode, call: () => unknown): void {
  expect(call).toThrow(expect.objectContaining({ code }) as Error);
}
