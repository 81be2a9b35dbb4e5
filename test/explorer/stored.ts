import type { Digest } from '../../oci/digest.ts';
import { multipartKey, type StoreState } from './world.ts';

/** How the tests read what lies in the store: on purpose not with the product's own code. */
interface Header {
  readonly state: string;
  readonly nonce: string;
  readonly gen?: string;
  readonly attempt?: string;
  readonly digest?: Digest;
  readonly dataKey?: string;
  readonly mediaType?: string;
  readonly offset?: number;
  readonly multipart?: { readonly id: string; readonly offset: number };
}

export interface Stored {
  readonly header: Header;
  readonly payload: Buffer;
}

/** Undefined: absent, or a tombstone. */
export function readStored(store: StoreState, key: string): Stored | undefined {
  const body = store.entries.get(key)?.body;
  if (body === undefined || body.length === 64) return undefined;
  const end = body.indexOf('\n');
  return { header: JSON.parse(body.toString('utf8', 0, end)) as Header, payload: body.subarray(end + 1) };
}

export interface StoredManifest extends Stored {
  readonly repository: string;
  readonly digest: Digest;
}

/** What readers see: committed and condemned records. */
export function readableManifests(store: StoreState): StoredManifest[] {
  const found: StoredManifest[] = [];
  for (const key of store.entries.keys()) {
    const parts = /^repos\/(.+)\/_manifests\/(.+)$/.exec(key);
    if (parts === null) continue;
    const stored = readStored(store, key);
    if (stored === undefined || stored.header.state === 'pending') continue;
    found.push({ ...stored, repository: String(parts[1]), digest: parts[2] as Digest });
  }
  return found;
}

export function isManifestReadable(store: StoreState, repository: string, digest: Digest): boolean {
  const stored = readStored(store, `repos/${repository}/_manifests/${digest}`);
  return stored !== undefined && stored.header.state !== 'pending';
}

export interface StoredTag {
  readonly repository: string;
  readonly tag: string;
  readonly digest: Digest;
  readonly nonce: string;
}

export function readTags(store: StoreState): StoredTag[] {
  const found: StoredTag[] = [];
  for (const key of store.entries.keys()) {
    const parts = /^repos\/(.+)\/_tags\/(.+)$/.exec(key);
    const stored = parts === null ? undefined : readStored(store, key);
    if (parts === null || stored === undefined) continue;
    const { digest, nonce } = stored.header;
    found.push({ repository: String(parts[1]), tag: String(parts[2]), digest: digest as Digest, nonce });
  }
  return found;
}

export interface Children {
  readonly blobs: readonly Digest[];
  readonly manifests: readonly Digest[];
  readonly subject: Digest | undefined;
}

interface Described {
  readonly mediaType: string;
  readonly digest: Digest;
}

export function childrenIn(payload: Buffer): Children {
  const manifest = JSON.parse(payload.toString()) as {
    config?: Described;
    layers?: Described[];
    manifests?: Described[];
    subject?: Described;
  };
  const layers = manifest.layers ?? [];
  const blobs = [...(manifest.config === undefined ? [] : [manifest.config]), ...layers];
  return {
    blobs: [...new Set(blobs.map(({ digest }) => digest))],
    manifests: (manifest.manifests ?? []).map(({ digest }) => digest),
    subject: manifest.subject?.digest,
  };
}

export interface StoredSession {
  readonly key: string;
  /** Bytes that it says it has. */
  readonly offset: number;
  /** Bytes that are there for it. */
  readonly kept: number;
}

/** Open upload sessions of a world where uploads have a lock: elsewhere bytes are parts that only a completion counts. */
export function readSessions(store: StoreState): StoredSession[] {
  const found: StoredSession[] = [];
  for (const key of store.entries.keys()) {
    if (!key.startsWith('uploads/')) continue;
    const stored = readStored(store, key);
    if (stored?.header.state !== 'open') continue;
    const { offset = 0, multipart } = stored.header;
    if (multipart === undefined || stored.payload.length > 0) continue;
    const bytes = store.entries.get(multipartKey(JSON.stringify(multipart.id)))?.body;
    found.push({ key, offset, kept: bytes?.length ?? 0 });
  }
  return found;
}
