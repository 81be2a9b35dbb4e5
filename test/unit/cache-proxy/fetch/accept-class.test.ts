import { expect, it } from 'vitest';
import { acceptClass, acceptClasses, acceptOfClass } from '../../../../cache-proxy/fetch/accept-class.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';

const { ociIndex, ociManifest, dockerManifest, dockerManifestList } = mediaTypes;

it('what a client accepts is one class, in whatever order and with whatever weight it says it', () => {
  expect(acceptClass(`${ociManifest}, ${ociIndex}`)).toBe('im---');
  expect(acceptClass(`${ociIndex};q=0.5,${ociManifest.toUpperCase()}`)).toBe('im---');
  expect(acceptClass(`${dockerManifest}, ${dockerManifestList}, */*`)).toBe('--lda');
  expect(acceptClass(undefined)).toBe('-----');
  expect(acceptClass('text/html')).toBe('-----');
});

it('each class is asked for as its clients ask', () => {
  expect(acceptOfClass('im---')).toBe(`${ociIndex}, ${ociManifest}`);
  expect(acceptOfClass('----a')).toBe('*/*');
  expect(acceptOfClass('-----')).toBeUndefined();
  for (const name of acceptClasses) expect(acceptClass(acceptOfClass(name))).toBe(name);
  expect(new Set(acceptClasses).size).toBe(32);
});
