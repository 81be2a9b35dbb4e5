import type { BaseFileSource } from '../base-file.ts';
import { mavenPath, parseMavenCoordinate } from './fetch-maven.ts';

/**
 * The beginning of an address, or `maven:` or `npm:`, → addresses that hold the same files: what stands behind the beginning is put
 * behind them. For `maven:` that is Maven's default layout, for `npm:` that of a registry.
 */
export type CatalogMirrors = Readonly<Record<string, readonly string[]>>;

/** Where the catalog says that a source also lies. Of several beginnings that fit the longest counts. */
export function mirrorAddresses(source: BaseFileSource, mirrors: CatalogMirrors): readonly string[] {
  const address = addressOf(source);
  const [prefix] = Object.keys(mirrors)
    .filter((each) => address.startsWith(each))
    .sort((a, b) => b.length - a.length);
  if (prefix === undefined) return [];
  const rest = address.slice(prefix.length);
  return (mirrors[prefix] ?? []).map((mirror) => joined(mirror, rest));
}

function addressOf({ url, git, maven, npm }: BaseFileSource): string {
  if (maven !== undefined) return `maven:${mavenPath(parseMavenCoordinate(maven))}`;
  if (npm !== undefined) return `npm:${npmPath(npm)}`;
  return url ?? git?.url ?? '';
}

/** `@scope/name@1.0.0` → `@scope/name/-/name-1.0.0.tgz`. */
function npmPath(text: string): string {
  const at = text.lastIndexOf('@');
  const name = text.slice(0, at);
  return `${name}/-/${name.split('/').at(-1)}-${text.slice(at + 1)}.tgz`;
}

function joined(address: string, rest: string): string {
  return address.endsWith('/') || rest.startsWith('/') || rest === '' ? address + rest : `${address}/${rest}`;
}
