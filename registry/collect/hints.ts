import { type Digest, isDigest } from '../../oci/digest.ts';
import type { StoreContext } from '../store/context.ts';
import { dueHintKey, newHintKey } from '../store/paths.ts';

/** Something that perhaps nobody needs any more. */
export type Hint =
  | { readonly kind: 'blob'; readonly digest: Digest }
  | { readonly kind: 'manifest'; readonly repository: string; readonly digest: Digest };

/** So many lie in one object: a collector reads them all at once. */
export const hintsAtOnce = 1000;

/** Blobs that lost a reference or a link. */
export function leaveBlobHints(context: StoreContext, digests: readonly Digest[]): Promise<void> {
  return leaveHints(
    context,
    digests.map((digest) => ({ kind: 'blob', digest })),
  );
}

/** Manifests that lost a tag or a parent; nothing to do where no policy asks for them. */
export async function leaveUntaggedHints(
  context: StoreContext,
  repository: string,
  digests: readonly Digest[],
): Promise<void> {
  if (context.hintUntagged !== true) return;
  await leaveHints(
    context,
    digests.map((digest) => ({ kind: 'manifest', repository, digest })),
  );
}

/**
 * Tells the next collector where to look, in one put. A lost hint costs disk space until the next full scan and nothing else,
 * so a store that cannot take it stops nobody.
 */
async function leaveHints(context: StoreContext, hints: readonly Hint[]): Promise<void> {
  if (hints.length === 0) return;
  try {
    const body = encodeHints(hints);
    await context.store.put(newHintKey(context.random()), body, { durability: 'process' });
  } catch (error) {
    context.log.warn({ err: error }, 'a hint for garbage collection was lost');
  }
}

/** Remembers what was condemned around `storeTime`. Errors: ObjectStoreUnavailable. */
export async function leaveCondemned(
  context: StoreContext,
  storeTime: Date,
  hints: readonly Hint[],
): Promise<void> {
  for (let start = 0; start < hints.length; start += hintsAtOnce) {
    const body = encodeHints(hints.slice(start, start + hintsAtOnce));
    const key = dueHintKey(storeTime.getTime(), context.random());
    await context.store.put(key, body, { durability: 'process' });
  }
}

/** One line each: a repository's name holds no space. */
function encodeHints(hints: readonly Hint[]): Buffer {
  const lines = hints.map((hint) =>
    hint.kind === 'blob' ? `blob ${hint.digest}\n` : `manifest ${hint.digest} ${hint.repository}\n`,
  );
  return Buffer.from(lines.join(''));
}

/** Lines that are none of ours are left out. */
export function decodeHints(body: Buffer): Hint[] {
  return body
    .toString()
    .split('\n')
    .flatMap((line): Hint[] => {
      const [kind, digest = '', repository] = line.split(' ');
      if (!isDigest(digest)) return [];
      if (kind === 'blob') return [{ kind, digest }];
      return kind === 'manifest' && repository !== undefined ? [{ kind, digest, repository }] : [];
    });
}
