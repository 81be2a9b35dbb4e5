import { isTag } from '../../oci/reference.ts';

/** `archive`: its content is the application's directory. `war`, `jar`: what Java calls so. */
export type PackageKind = 'archive' | 'war' | 'jar';

/** What a package's file name says. */
export interface PackageName {
  /** As given, e.g. `shop-1.2.war`. */
  readonly file: string;
  readonly kind: PackageKind;
  /** Without ending and version: `shop`. */
  readonly stem: string;
  /** A tag made of the version, where the name has one: `1.2`. */
  readonly tag?: string;
}

export const packageEndings = ['.tar.gz', '.tgz', '.tar', '.zip', '.war', '.jar'] as const;

/** Undefined: no name of a package. The name can become a file's in the image, so it holds no slash and no control characters. */
export function parsePackageName(file: string): PackageName | undefined {
  const lower = file.toLowerCase();
  const ending = packageEndings.find((candidate) => lower.endsWith(candidate));
  if (ending === undefined || !/^[\p{L}\p{N}_][^/\\\p{Cc}]*$/u.test(file) || Buffer.byteLength(file) > 200) {
    return undefined;
  }
  const whole = file.slice(0, -ending.length);
  // Maven's, npm's and most release tools' way: a number behind the name, and anything behind that.
  const [, stem = whole, version] = /^(.+?)[-_]v?(\d+(?:[.+_-].*)?)$/.exec(whole) ?? [];
  const tag = version?.replaceAll('+', '_');
  return {
    file,
    kind: ending === '.war' ? 'war' : ending === '.jar' ? 'jar' : 'archive',
    stem,
    ...(tag !== undefined && isTag(tag) ? { tag } : {}),
  };
}
