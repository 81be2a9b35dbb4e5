import { createHash } from 'node:crypto';
import type { ObjectStore } from '../../../core/object-store/object-store.ts';
import { isDigest } from '../../../oci/digest.ts';
import { compressorId, type Layer } from '../../../oci/layer.ts';
import { mediaTypes } from '../../../oci/media-types.ts';

/** Raised whenever the same input would give another layer. */
const rulesVersion = 2;

/** Remembers which layer an input gave. An entry is a hint: whoever uses it asks the registry for the blob first. */
export interface LayerCache {
  get(key: string): Promise<Layer | undefined>;
  set(key: string, layer: Layer): Promise<void>;
}

/**
 * Names everything that a layer's bytes depend on: what `lines` say of each entry, our rules and the compressor. Equal keys have equal
 * diffIDs, so a layer is found before its tar is written.
 */
export function layerKey(lines: Iterable<string>): string {
  const hash = createHash('sha256').update(JSON.stringify([rulesVersion, compressorId()]));
  let text = '';
  for (const line of lines) {
    text += line;
    if (text.length < 65_536) continue;
    hash.update(text);
    text = '';
  }
  return hash.update(text).digest('hex');
}

/** Keys `cache/layers/<key>`; may be emptied at any time. */
export function createLayerCache(store: ObjectStore): LayerCache {
  const pathOf = (key: string): string => `cache/layers/${key}`;
  return {
    async get(key) {
      const object = await store.get(pathOf(key), { limit: 4096 });
      return object === undefined ? undefined : parseLayer(object.body);
    },
    async set(key, layer) {
      // Lost after a power cut, it is only built again.
      await store.put(pathOf(key), Buffer.from(JSON.stringify(layer)), { durability: 'process' });
    },
  };
}

function parseLayer(body: Buffer): Layer | undefined {
  let value: Partial<Record<keyof Layer, unknown>>;
  try {
    value = JSON.parse(body.toString()) as typeof value;
  } catch {
    return undefined;
  }
  const { digest, diffId, size } = value;
  if (typeof digest !== 'string' || !isDigest(digest)) return undefined;
  if (typeof diffId !== 'string' || !isDigest(diffId)) return undefined;
  if (typeof size !== 'number' || !Number.isSafeInteger(size)) return undefined;
  return { mediaType: mediaTypes.ociLayerGzip, digest, diffId, size };
}
