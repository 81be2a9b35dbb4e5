import type { ListedObject } from '../../core/object-store/object-store.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { walkKeys } from '../collect/walk.ts';
import { parseBlobReference, parsePointerKey, pointersPrefix, referencesPrefix } from '../store/paths.ts';
import { tombstoneSize } from '../store/record.ts';
import { checkBlob } from './check-blob.ts';
import { checkReference } from './check-entries.ts';
import { finding } from './finding.ts';
import { forEachParallel } from './for-each-parallel.ts';
import type { Verification } from './verification.ts';

type Item =
  | { readonly kind: 'pointer'; readonly digest: Digest; readonly unreferenced: boolean }
  | { readonly kind: 'reference'; readonly key: string }
  | { readonly kind: 'unknown'; readonly key: string };

/** Pointers with what they point at, and references: both lists are in the order of digests, so one walk over both tells who has none. */
export async function verifyBlobs(verification: Verification): Promise<void> {
  const { context, examiner, counts, named, bytes, parallel } = verification;
  await forEachParallel(walkBlobs(verification), parallel, async (item) => {
    if (item.kind === 'unknown') {
      verification.report(finding('unknown-key', item.key));
      return;
    }
    verification.progress('blobs');
    if (item.kind === 'reference') {
      const reference = parseBlobReference(item.key);
      if (reference === undefined) verification.report(finding('unknown-key', item.key));
      else await examiner.examine((look) => checkReference(reference, look));
      return;
    }
    const { digest, unreferenced } = item;
    const dataKeys: string[] = [];
    let counted = false;
    await examiner.examine(() =>
      checkBlob(context, digest, {
        bytes,
        unreferenced,
        onBlob({ state, size, dataKey }) {
          if (dataKey !== undefined) dataKeys.push(dataKey);
          if (counted || state === 'deleting') return;
          counted = true;
          counts.blobs++;
          counts.blobBytes += size;
        },
      }),
    );
    for (const key of new Set(dataKeys)) await named.add(key);
  });
}

async function* walkBlobs({ context, counts }: Verification): AsyncGenerator<Item> {
  const { store } = context;
  const references = walkKeys(store, { prefix: referencesPrefix });
  let reference = await references.next();
  for await (const object of walkKeys(store, { prefix: pointersPrefix })) {
    const digest = parsePointerKey(object.key);
    if (digest === undefined) {
      yield { kind: 'unknown', key: object.key };
      continue;
    }
    for (
      ;
      reference.done !== true && digestOf(reference.value) < digest;
      reference = await references.next()
    ) {
      counts.references++;
      yield { kind: 'reference', key: reference.value.key };
    }
    if (object.size === tombstoneSize) counts.tombstones++;
    else {
      const unreferenced = reference.done === true || digestOf(reference.value) !== digest;
      yield { kind: 'pointer', digest, unreferenced };
    }
  }
  for (; reference.done !== true; reference = await references.next()) {
    counts.references++;
    yield { kind: 'reference', key: reference.value.key };
  }
}

/** The blob that a reference is for; its text where it is none, which then is told as an unknown key. */
function digestOf({ key }: ListedObject): string {
  const [, algorithm = '', hex = ''] = key.split('/', 3);
  const digest = `${algorithm}:${hex}`;
  return isDigest(digest) ? digest : key;
}
