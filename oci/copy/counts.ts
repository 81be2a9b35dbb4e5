/** What became of everything that was looked at. Of blobs that several images share each image counts its own. */
export interface CopyCounts {
  readonly manifests: { copied: number; present: number };
  readonly blobs: { copied: number; mounted: number; present: number };
  readonly bytes: { copied: number; mounted: number; present: number };
  /** Manifests that came along because they name a copied one as their subject, or by cosign's tags. */
  referrers: number;
}

export function createCounts(): CopyCounts {
  return {
    manifests: { copied: 0, present: 0 },
    blobs: { copied: 0, mounted: 0, present: 0 },
    bytes: { copied: 0, mounted: 0, present: 0 },
    referrers: 0,
  };
}

/** Adds `more` to `total`. */
export function addCounts(total: CopyCounts, more: CopyCounts): void {
  total.manifests.copied += more.manifests.copied;
  total.manifests.present += more.manifests.present;
  for (const kind of ['copied', 'mounted', 'present'] as const) {
    total.blobs[kind] += more.blobs[kind];
    total.bytes[kind] += more.bytes[kind];
  }
  total.referrers += more.referrers;
}
