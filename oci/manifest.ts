import type { Descriptor } from './descriptor.ts';
import { type Digest, isDigest } from './digest.ts';
import { OciError } from './errors.ts';
import { checkJsonText } from './json-text.ts';
import { isForeignLayer, isImageManifest, isIndex, isManifestType } from './media-types.ts';

/** distribution-spec "Pushing Manifests" asks for at least 4 MiB; no registry in use accepts more. */
export const maxManifestBytes = 4 * 1024 * 1024;

/** RFC 6838 allows 127 characters on both sides of the slash. */
const maxMediaTypeLength = 255;

/** `…+json` and `…+prettyjws`. */
const dockerSchema1 = 'application/vnd.docker.distribution.manifest.v1+';

/** What a registry must know of a manifest. The bytes stay the truth; unknown fields are not looked at. */
export interface Manifest {
  readonly kind: 'image' | 'index';
  readonly mediaType: string;
  /** Image manifests only. */
  readonly config?: Descriptor;
  /** Empty for an index. */
  readonly layers: readonly Descriptor[];
  /** Empty for an image manifest. */
  readonly manifests: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Strict where two readers could understand different things (CVE-2021-41190: a manifest that is also an index), lenient
 * elsewhere: any artifact type, unknown fields, absent subjects and empty layer lists are fine.
 * `contentType` is the request's header; empty = decide by the content.
 * Errors: SIZE_TOO_LARGE, MANIFEST_INVALID.
 */
export function parseManifest(bytes: Uint8Array, contentType: string): Manifest {
  if (bytes.length > maxManifestBytes) {
    throw new OciError('SIZE_TOO_LARGE', { message: `manifest is larger than ${maxManifestBytes} bytes` });
  }
  const document = parseObject(bytes);
  if (document.schemaVersion === 1 || contentType.startsWith(dockerSchema1)) {
    throw invalid('Docker schema 1 is not supported; push with a client that writes schema 2 or OCI');
  }
  if (document.schemaVersion !== 2) throw invalid('schemaVersion must be 2');
  const mediaType = decideMediaType(document, contentType);
  const has = (field: string): boolean => document[field] !== undefined && document[field] !== null;
  const common = {
    mediaType,
    ...optional('subject', has('subject') ? parseDescriptor(document.subject, 'subject') : undefined),
    ...optional('artifactType', optionalString(document, 'artifactType')),
    ...optional(
      'annotations',
      has('annotations') ? parseAnnotations(document.annotations, 'annotations') : undefined,
    ),
  };
  if (isIndex(mediaType)) {
    if (has('layers') || has('config')) throw invalid('an index has neither config nor layers');
    return {
      kind: 'index',
      ...common,
      layers: [],
      manifests: parseDescriptors(document.manifests, 'manifests'),
    };
  }
  if (has('manifests')) throw invalid('an image manifest has no manifests');
  return {
    kind: 'image',
    ...common,
    config: parseDescriptor(document.config, 'config'),
    layers: parseDescriptors(document.layers, 'layers'),
    manifests: [],
  };
}

export interface ManifestChildren {
  /** Must be readable in the repository. */
  readonly blobs: readonly Digest[];
  /** Non-distributable layers: kept alive where they are present, but need not be. */
  readonly optionalBlobs: readonly Digest[];
  /** May be absent: an index can be sparse. */
  readonly manifests: readonly Digest[];
}

/** Everything that a manifest points at, its subject apart; each digest once. */
export function childrenOf(manifest: Manifest): ManifestChildren {
  const blobs = new Set<Digest>();
  const optionalBlobs = new Set<Digest>();
  const manifests = new Set<Digest>();
  if (manifest.config !== undefined) blobs.add(manifest.config.digest);
  for (const layer of manifest.layers) {
    (isForeignLayer(layer.mediaType) ? optionalBlobs : blobs).add(layer.digest);
  }
  // BuildKit's old cache export is an index whose entries are layers.
  for (const child of manifest.manifests) {
    (isManifestType(child.mediaType) ? manifests : blobs).add(child.digest);
  }
  return {
    blobs: [...blobs],
    optionalBlobs: [...optionalBlobs].filter((digest) => !blobs.has(digest)),
    manifests: [...manifests],
  };
}

/** distribution-spec "Listing Referrers": artifactType falls back to the config's media type; annotations are the manifest's. */
export function referrerDescriptor(manifest: Manifest, digest: Digest, size: number): Descriptor {
  const artifactType = manifest.artifactType || manifest.config?.mediaType;
  return {
    mediaType: manifest.mediaType,
    digest,
    size,
    ...optional('artifactType', artifactType),
    ...optional('annotations', manifest.annotations),
  };
}

type JsonObject = Readonly<Record<string, unknown>>;

/** Fields that readers act on. Go matches names without regard to case, so another spelling is a second, hidden value. */
const knownFields = new Map(
  'schemaVersion mediaType config layers manifests subject artifactType annotations digest size urls data platform'
    .split(' ')
    .map((name) => [name.toLowerCase(), name]),
);

function parseObject(bytes: Uint8Array): JsonObject {
  let text: string;
  let value: unknown;
  try {
    // ignoreBOM keeps a byte order mark in the text, where JSON.parse refuses it as every Go client does.
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw invalid('not UTF-8', error);
  }
  const fault = checkJsonText(text);
  if (fault !== undefined) throw invalid(fault);
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid('not JSON', error);
  }
  return asObject(value, 'manifest');
}

function decideMediaType(document: JsonObject, contentType: string): string {
  const announced = (contentType.split(';')[0] ?? '').trim();
  const written = optionalString(document, 'mediaType');
  if (announced !== '' && written !== undefined && announced !== written) {
    throw invalid(`Content-Type ${quote(announced)} differs from the manifest's mediaType ${quote(written)}`);
  }
  const mediaType = announced || written || '';
  if (isImageManifest(mediaType) || isIndex(mediaType)) return mediaType;
  throw invalid(mediaType === '' ? 'no media type' : `unknown manifest media type ${quote(mediaType)}`);
}

function parseDescriptors(value: unknown, where: string): Descriptor[] {
  // Go writes an empty list as null.
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(`${where} must be a list`);
  return value.map((entry, index) => parseDescriptor(entry, `${where}[${index}]`));
}

function parseDescriptor(value: unknown, where: string): Descriptor {
  const entry = asObject(value, where);
  const { mediaType, digest, size } = entry;
  if (typeof mediaType !== 'string' || mediaType === '' || mediaType.length > maxMediaTypeLength) {
    throw invalid(`${where}.mediaType must be a media type`);
  }
  if (typeof digest !== 'string' || !isDigest(digest)) throw invalid(`${where}.digest must be a digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalid(`${where}.size must be a number of bytes`);
  }
  return {
    mediaType,
    digest,
    size,
    ...optional('artifactType', optionalString(entry, 'artifactType')),
    ...optional('data', optionalString(entry, 'data')),
    ...optional(
      'annotations',
      entry.annotations === undefined || entry.annotations === null
        ? undefined
        : parseAnnotations(entry.annotations, `${where}.annotations`),
    ),
    ...optional('urls', parseUrls(entry.urls, `${where}.urls`)),
    ...optional('platform', parsePlatform(entry.platform, `${where}.platform`)),
  };
}

function parsePlatform(value: unknown, where: string): Descriptor['platform'] | undefined {
  if (value === undefined || value === null) return undefined;
  const entry = asObject(value, where);
  return {
    architecture: optionalString(entry, 'architecture') ?? '',
    os: optionalString(entry, 'os') ?? '',
    ...optional('variant', optionalString(entry, 'variant')),
    ...optional('os.version', optionalString(entry, 'os.version')),
  };
}

function parseUrls(value: unknown, where: string): string[] | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) throw invalid(`${where} must be a list`);
  return value.map((entry: unknown) => {
    if (typeof entry !== 'string') throw invalid(`${where} must hold text`);
    return entry;
  });
}

function parseAnnotations(value: unknown, where: string): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`${where} must be an object`);
  }
  for (const text of Object.values(value)) {
    if (typeof text !== 'string') throw invalid(`${where} must hold text`);
  }
  return value as Record<string, string>;
}

/** Reads only own properties: a key `__proto__` is then a field like any other. */
function asObject(value: unknown, where: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`${where} must be an object`);
  }
  for (const name of Object.keys(value)) {
    const known = knownFields.get(name.toLowerCase());
    if (known !== undefined && known !== name) throw invalid(`${where} spells ${known} as ${quote(name)}`);
  }
  return Object.assign(Object.create(null), withoutPrototypeKey(value)) as JsonObject;
}

function withoutPrototypeKey(value: object): object {
  if (!Object.hasOwn(value, '__proto__')) return value;
  return Object.fromEntries(Object.entries(value).filter(([name]) => name !== '__proto__'));
}

function optionalString(entry: JsonObject, field: string): string | undefined {
  const value = entry[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw invalid(`${field} must be text`);
  if (/[mM]edia|artifact/.test(field) && value.length > maxMediaTypeLength) {
    throw invalid(`${field} is longer than ${maxMediaTypeLength} characters`);
  }
  return value;
}

function optional<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { [P in K]?: V };
}

function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

function invalid(message: string, cause?: unknown): OciError {
  return new OciError('MANIFEST_INVALID', {
    message: `manifest invalid: ${message}`,
    ...(cause === undefined ? {} : { cause }),
  });
}
