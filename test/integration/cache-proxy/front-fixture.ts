import { randomBytes } from 'node:crypto';

/** Incompressible, and larger than anything that is held in one buffer on the way. */
export function randomBlob(bytes: number): Buffer {
  return randomBytes(bytes);
}

/** Blobs that these servers left to somebody else, by the metric that they keep. */
export async function handedOver(urls: readonly string[], to: 'front' | 'store'): Promise<number> {
  const counts = await Promise.all(
    urls.map(async (url) => {
      const text = await (await fetch(`${url}/metrics`)).text();
      const line = new RegExp(`^registry_blobs_handed_over_total\\{to="${to}"\\} ([0-9]+)$`, 'm').exec(text);
      return Number(line?.[1] ?? 0);
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
