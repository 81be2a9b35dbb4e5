import { randomBytes } from 'node:crypto';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import type { Digest } from '../../oci/digest.ts';

/** A promotion, as it is kept: who moved which tag from where to where. */
export interface PromotionRecord {
  readonly repository: string;
  readonly tag: string;
  readonly digest: Digest;
  /** What the tag named before; left out: there was no such tag. */
  readonly previous?: Digest;
  /** What was asked for, `team/app:rc` or `team/app@sha256:…`. */
  readonly source: string;
  readonly by: string;
  /** RFC 3339. */
  readonly at: string;
}

export interface PromotionRecords {
  /** Written before the tag is moved. From then on the manifest is kept by collection, whether or not it has a tag. */
  open(record: PromotionRecord): Promise<OpenPromotion>;
  /** Newest first, those that were carried out. */
  list(repository: string, about: { tag: string } | { digest: Digest }): Promise<readonly PromotionRecord[]>;
}

export interface OpenPromotion {
  done(): Promise<void>;
  /** Nothing was moved. */
  abandon(): Promise<void>;
}

/**
 * `promotions/<repository>/_digests/<digest>/<id>` and `…/_tags/<tag>/<id>`: one small object for each promotion, created once and
 * completed once, so that nobody has to compare and set. Not below `repos/`: what was promoted once stays on record after the repository is gone.
 */
const prefix = 'promotions/';
const mostListed = 100;
const endOfTime = 9_999_999_999_999;

/** Where a manifest has keys when it was promoted. */
export function promotedDigestPrefix(repository: string, digest: Digest): string {
  return `${prefix}${repository}/_digests/${digest}/`;
}

export function createPromotionRecords(store: ObjectStore): PromotionRecords {
  const tagPrefix = (repository: string, tag: string): string => `${prefix}${repository}/_tags/${tag}/`;
  return {
    async open(record) {
      const { repository, tag, digest, at } = record;
      // Listings begin with the newest.
      const id = `${String(endOfTime - Date.parse(at)).padStart(13, '0')}-${randomBytes(8).toString('hex')}`;
      const keys = [
        `${promotedDigestPrefix(repository, digest)}${id}`,
        `${tagPrefix(repository, tag)}${id}`,
      ] as const;
      const write = async (state: 'open' | 'done'): Promise<void> => {
        const body = Buffer.from(JSON.stringify({ state, ...record }));
        await Promise.all(keys.map((key) => store.put(key, body)));
      };
      await write('open');
      return { done: () => write('done'), abandon: () => store.deleteMany(keys) };
    },
    async list(repository, about) {
      const { objects } = await store.list({
        prefix:
          'tag' in about ? tagPrefix(repository, about.tag) : promotedDigestPrefix(repository, about.digest),
        limit: mostListed,
      });
      const found = await Promise.all(objects.map(({ key }) => store.get(key)));
      return found.flatMap((object) => {
        if (object === undefined) return [];
        const { state, ...record } = JSON.parse(object.body.toString('utf8')) as PromotionRecord & {
          state: string;
        };
        return state === 'done' ? [record] : [];
      });
    },
  };
}
