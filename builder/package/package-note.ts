/** What a build's record says of the package that its commit was made of. */
export interface PackageNote {
  /** File name, e.g. `shop-1.2.war`. */
  readonly name: string;
  /** Of the package's bytes, lower-case hex. */
  readonly sha256: string;
  readonly bytes: number;
  /** Files that came of it. */
  readonly files: number;
  /** The directory that everything in the archive lay in, and that was left out. */
  readonly top?: string;
  /** Where App.yaml comes from: the package's own, given with it, or proposed by us. */
  readonly appfile: 'own' | 'given' | 'proposed';
}

const prefix = 'package=';

/** As a push option: a ref's options are kept with it, so what is announced again after a crash says the same. */
export function packageOption(note: PackageNote): string {
  return prefix + JSON.stringify(note);
}

/** Undefined: the option says something else, or not what `packageOption` writes. */
export function parsePackageOption(option: string): PackageNote | undefined {
  if (!option.startsWith(prefix)) return undefined;
  let value: Partial<Record<keyof PackageNote, unknown>> | null;
  try {
    value = JSON.parse(option.slice(prefix.length)) as typeof value;
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { name, sha256, bytes, files, top, appfile } = value;
  if (typeof name !== 'string' || typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256))
    return undefined;
  if (!Number.isSafeInteger(bytes) || !Number.isSafeInteger(files)) return undefined;
  if (appfile !== 'own' && appfile !== 'given' && appfile !== 'proposed') return undefined;
  const note: PackageNote = { name, sha256, bytes: bytes as number, files: files as number, appfile };
  return typeof top === 'string' ? { ...note, top } : note;
}
