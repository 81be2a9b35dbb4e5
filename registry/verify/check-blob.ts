import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { type Digest, digestAlgorithm, digestOf, digestOfHash } from '../../oci/digest.ts';
import { hasKeys } from '../collect/walk.ts';
import type { StoreContext } from '../store/context.ts';
import { blobReferencesPrefix, pointerKey } from '../store/paths.ts';
import type { PointerHeader } from '../store/pointer.ts';
import { type Finding, finding } from './finding.ts';
import { readChecked } from './lookups.ts';

export interface CheckBlobOptions {
  /** The bytes too. */
  readonly bytes: boolean;
  /** A list of the blob's references had none. */
  readonly unreferenced: boolean;
  /** Told of the blob when there is one. */
  readonly onBlob?: (pointer: PointerHeader) => void;
}

/** A blob's pointer and what it points at. */
export async function checkBlob(
  context: StoreContext,
  digest: Digest,
  options: CheckBlobOptions,
): Promise<Finding[]> {
  const key = pointerKey(digest);
  const { header, payload } = await readChecked<PointerHeader>(context, key);
  if (header === undefined) return [];
  options.onBlob?.(header);
  const { state, gen, size, dataKey } = header;
  if (state === 'deleting') return [finding('half-deleted-blob', key, '', gen)];
  const found: Finding[] = [];
  if (options.unreferenced && !(await hasKeys(context.store, blobReferencesPrefix(digest)))) {
    found.push(finding('unneeded-blob', key, `${size} bytes, ${state}`, gen));
  }
  if (dataKey === undefined) {
    const actual = digestOf(payload, digestAlgorithm(digest));
    if (payload.length !== size) found.push(wrongSize(key, payload.length, size, gen));
    else if (actual !== digest) found.push(finding('wrong-bytes', key, `its bytes are ${actual}`, gen));
    return found;
  }
  const info = await context.store.head(dataKey);
  if (info === undefined) found.push(finding('missing-data', key, dataKey, gen));
  else if (info.size !== size) found.push(wrongSize(key, info.size, size, gen));
  else if (options.bytes) {
    const actual = await digestOfData(context, dataKey, digest);
    if (actual !== undefined && actual !== digest)
      found.push(finding('wrong-bytes', key, `its bytes are ${actual}`, gen));
  }
  return found;
}

function wrongSize(key: string, actual: number, size: number, gen: string): Finding {
  return finding('wrong-size', key, `${actual} bytes instead of ${size}`, gen);
}

/** Undefined: it went away, which the next look tells of. */
async function digestOfData(
  context: StoreContext,
  dataKey: string,
  digest: Digest,
): Promise<Digest | undefined> {
  const stored = await context.store.getStream(dataKey);
  if (stored === undefined) return undefined;
  const algorithm = digestAlgorithm(digest);
  const hash = createHash(algorithm);
  await pipeline(stored.body, async (body) => {
    for await (const chunk of body) hash.update(chunk as Buffer);
  });
  return digestOfHash(algorithm, hash);
}
