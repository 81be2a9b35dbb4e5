import { toByteString } from '../key.ts';
import type { ListedObject, ListOptions, ListPage } from '../object-store.ts';
import type { Requests, Wire, WireListing } from './requests.ts';

export interface S3ListDeps {
  readonly wire: Wire;
  readonly requests: Requests;
  /** The store's prefix, empty or ending in `/`. */
  readonly prefix: string;
}

/** The last character there is: nothing that our keys hold comes after it. */
const last = '\u{10FFFF}';

/** One page. After many deletions a store may need several requests to find its first key. */
export async function listPage(
  { wire, requests, prefix: own }: S3ListDeps,
  options: ListOptions,
): Promise<ListPage> {
  const { prefix, delimiter } = options;
  // No key begins so, and some stores call it a bad request (MinIO).
  if (prefix.split('/').slice(0, -1).some(isNoPart)) return { objects: [], prefixes: [] };
  const limit = Math.max(1, Math.min(options.limit ?? 1000, 1000));
  const startAfter = startOf(options);
  let token: string | undefined;
  for (;;) {
    const page: WireListing = await requests.run('list', `listing ${prefix}`, () =>
      wire.list({
        prefix: own + prefix,
        limit,
        ...(startAfter === undefined || token !== undefined ? {} : { startAfter: own + startAfter }),
        ...(token === undefined ? {} : { token }),
        ...(delimiter === undefined ? {} : { delimiter }),
      }),
    );
    const objects: ListedObject[] = page.objects.map((object) => ({
      key: object.key.slice(own.length),
      size: object.size,
      modified: object.modified,
    }));
    const prefixes = page.prefixes
      .map((found) => found.slice(own.length))
      .filter((found) => options.startAfter === undefined || isAfter(found, options.startAfter));
    if (page.token === undefined) return { objects, prefixes };
    const next = greater(objects.at(-1)?.key, prefixes.at(-1));
    if (next !== undefined) return { objects, prefixes, next };
    ({ token } = page);
  }
}

function isNoPart(part: string): boolean {
  return part === '' || part === '.' || part === '..';
}

/** A common prefix counts as what it is called, so whatever lies below one that is not after `startAfter` is passed over. */
function startOf({ prefix, startAfter, delimiter }: ListOptions): string | undefined {
  if (startAfter === undefined || startAfter === '') return undefined;
  if (delimiter === undefined || !startAfter.startsWith(prefix)) return startAfter;
  const slash = startAfter.indexOf(delimiter, prefix.length);
  return slash === -1 ? startAfter : startAfter.slice(0, slash + 1) + last;
}

function greater(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return isAfter(a, b) ? a : b;
}

function isAfter(a: string, b: string): boolean {
  return toByteString(a) > toByteString(b);
}
