/**
 * How a store wants an ETag in `If-Match`: quoted, as the standard says (AWS, MinIO), or bare, as Ceph 16 compares it: that one answers 412 to every
 * quoted one.
 */
export type EtagSpelling = 'quoted' | 'bare';

/** Found out by the first conditional write that goes through; until then a refused one is tried in both spellings. */
export interface EtagSpeller {
  /** Undefined: not known yet. */
  readonly known: EtagSpelling | undefined;
  /** To be tried in this order; the second only after the store refused the first, so that at most one of them is carried out. */
  readonly candidates: readonly EtagSpelling[];
  learn(spelling: EtagSpelling): void;
}

export function createEtagSpeller(): EtagSpeller {
  let known: EtagSpelling | undefined;
  return {
    get known() {
      return known;
    },
    get candidates() {
      return known === undefined ? (['quoted', 'bare'] as const) : [known];
    },
    learn(spelling) {
      known = spelling;
    },
  };
}

export function spellEtag(etag: string, spelling: EtagSpelling): string {
  return spelling === 'quoted' ? `"${etag}"` : etag;
}

export function bareEtag(etag: string): string {
  return etag.startsWith('"') && etag.endsWith('"') && etag.length > 1 ? etag.slice(1, -1) : etag;
}
