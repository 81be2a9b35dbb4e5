import { mediaTypes } from '../../oci/media-types.ts';

/** In the order of the letters of a class. */
const kinds = [
  ['i', mediaTypes.ociIndex],
  ['m', mediaTypes.ociManifest],
  ['l', mediaTypes.dockerManifestList],
  ['d', mediaTypes.dockerManifest],
  ['a', '*/*'],
] as const;

/** Every class there is: 32. */
export const acceptClasses: readonly string[] = Array.from({ length: 2 ** kinds.length }, (_, bits) =>
  classOf(kinds.map((_kind, index) => (bits & (1 << index)) !== 0)),
);

/**
 * Which kinds of manifest a client takes, as one word: registries answer a tag by it and send no Vary, so answers are kept apart by it. Clients send one
 * header with all kinds or one header for each, in any order, which must not make a difference.
 */
export function acceptClass(accept: string | undefined): string {
  const types = new Set((accept ?? '').split(',').map((part) => part.split(';', 1)[0]?.trim().toLowerCase()));
  return classOf(kinds.map(([, type]) => types.has(type)));
}

/** The header that every client of the class is asked for with; undefined: none. */
export function acceptOfClass(name: string): string | undefined {
  const types = kinds.filter(([letter]) => name.includes(letter)).map(([, type]) => type);
  return types.length === 0 ? undefined : types.join(', ');
}

function classOf(flags: readonly boolean[]): string {
  return kinds.map(([letter], index) => (flags[index] === true ? letter : '-')).join('');
}
