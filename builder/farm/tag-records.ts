import { randomBytes } from 'node:crypto';
import { type ObjectStore, PreconditionFailed } from '../../core/object-store/object-store.ts';
import type { Digest } from '../../oci/digest.ts';
import type { WantedTag } from './image-tags.ts';

/** Which push a moving tag stands for; moved by compare-and-set, and only forwards. */
export interface TagRecord {
  /** `<team>/<app> <ref>`. */
  readonly source: string;
  /** Of the push, see RefUpdate. */
  readonly sequence: number;
  readonly digest: Digest;
  /** Id of the build. */
  readonly build: string;
  /** `SourceTree.key` of the image's files, where it is one of several applications of a repository. */
  readonly tree?: string;
  /** Id of the wave of rebases that gave the tag this digest; undefined = the build itself did. */
  readonly wave?: string;
}

export interface ListedTagRecord {
  readonly repository: string;
  readonly tag: string;
  readonly record: TagRecord;
}

export type TagClaim =
  | { readonly outcome: 'claimed' }
  /** A newer push of the same source has it. */
  | { readonly outcome: 'superseded'; readonly by: TagRecord }
  | { readonly outcome: 'clash'; readonly with: TagRecord };

export interface TagRecords {
  read(repository: string, tag: string): Promise<TagRecord | undefined>;
  /** `mayTakeOver` says whether the source that holds the tag is gone. */
  claim(
    repository: string,
    wanted: WantedTag,
    record: Omit<TagRecord, 'source'>,
    mayTakeOver: (source: string) => Promise<boolean>,
  ): Promise<TagClaim>;
  /**
   * Another image of the same push: only where the record still is `expected`, whose sequence stays, so that every newer push goes before.
   * True = the record says so now, perhaps since an earlier call.
   */
  replace(
    repository: string,
    tag: string,
    expected: Pick<TagRecord, 'source' | 'sequence' | 'digest'>,
    next: { readonly digest: Digest; readonly wave: string },
  ): Promise<boolean>;
  /** All of them, repository by repository. */
  entries(): AsyncIterable<ListedTagRecord>;
}

const prefix = 'builds-tags/';
const readAtOnce = 32;

export function createTagRecords(store: ObjectStore): TagRecords {
  const keyOf = (repository: string, tag: string): string => `${prefix}${repository}/_tags/${tag}`;

  async function load(key: string): Promise<{ record: TagRecord; etag: string } | undefined> {
    const object = await store.get(key);
    if (object === undefined) return undefined;
    return { record: JSON.parse(object.body.toString('utf8')) as TagRecord, etag: object.etag };
  }

  return {
    read: async (repository, tag) => (await load(keyOf(repository, tag)))?.record,
    async claim(repository, wanted, record, mayTakeOver) {
      const key = keyOf(repository, wanted.tag);
      const body = (): Buffer =>
        Buffer.from(
          JSON.stringify({
            state: 'set',
            nonce: randomBytes(16).toString('hex'),
            source: wanted.source,
            ...record,
          }),
        );
      for (;;) {
        const known = await load(key);
        if (known !== undefined) {
          if (known.record.source !== wanted.source) {
            if (!(await mayTakeOver(known.record.source))) return { outcome: 'clash', with: known.record };
          } else if (known.record.sequence > record.sequence) {
            return { outcome: 'superseded', by: known.record };
          } else if (known.record.sequence === record.sequence && known.record.digest === record.digest) {
            return { outcome: 'claimed' };
          }
        }
        try {
          await store.put(key, body(), known === undefined ? { ifNoneMatch: '*' } : { ifMatch: known.etag });
          return { outcome: 'claimed' };
        } catch (error) {
          if (!(error instanceof PreconditionFailed)) throw error;
        }
      }
    },
    async replace(repository, tag, expected, next) {
      const key = keyOf(repository, tag);
      for (;;) {
        const known = await load(key);
        if (known === undefined) return false;
        const { record, etag } = known;
        if (record.source !== expected.source || record.sequence !== expected.sequence) return false;
        if (record.digest === next.digest && record.wave === next.wave) return true;
        if (record.digest !== expected.digest) return false;
        const nonce = randomBytes(16).toString('hex');
        const body = Buffer.from(JSON.stringify({ ...record, state: 'set', nonce, ...next }));
        try {
          await store.put(key, body, { ifMatch: etag });
          return true;
        } catch (error) {
          if (!(error instanceof PreconditionFailed)) throw error;
        }
      }
    },
    async *entries() {
      let startAfter: string | undefined;
      do {
        const page = await store.list({ prefix, ...(startAfter === undefined ? {} : { startAfter }) });
        for (let at = 0; at < page.objects.length; at += readAtOnce) {
          const keys = page.objects.slice(at, at + readAtOnce).map(({ key }) => key);
          const found = await Promise.all(keys.map(load));
          for (const [index, key] of keys.entries()) {
            const record = found[index]?.record;
            const [repository, tag] = key.slice(prefix.length).split('/_tags/');
            if (record === undefined || repository === undefined || tag === undefined) continue;
            yield { repository, tag, record };
          }
        }
        startAfter = page.next;
      } while (startAfter !== undefined);
    },
  };
}
