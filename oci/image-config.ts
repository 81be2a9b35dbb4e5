import { type Digest, isDigest } from './digest.ts';
import { OciError } from './errors.ts';

/** image-spec "Image Configuration": what of it we read and write. Unknown fields of a foreign base are dropped. */
export interface ImageConfig {
  readonly architecture: string;
  readonly os: string;
  readonly variant?: string;
  /** RFC 3339. */
  readonly created?: string;
  readonly config: ContainerConfig;
  /** Digests of the uncompressed layers, in order. */
  readonly diffIds: readonly Digest[];
  /** Undefined where the image has none. */
  readonly history?: readonly HistoryEntry[];
}

/** How containers are started; the names are the specification's. */
export interface ContainerConfig {
  readonly User?: string;
  readonly ExposedPorts?: Readonly<Record<string, Readonly<Record<string, never>>>>;
  /** `NAME=value`, each name once. */
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Volumes?: Readonly<Record<string, Readonly<Record<string, never>>>>;
  readonly WorkingDir?: string;
  readonly Labels?: Readonly<Record<string, string>>;
  readonly StopSignal?: string;
}

export interface HistoryEntry {
  readonly created?: string;
  readonly created_by?: string;
  readonly author?: string;
  readonly comment?: string;
  /** It has no layer. */
  readonly empty_layer?: boolean;
}

/** Errors: MANIFEST_INVALID. */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid('not JSON', error);
  }
  if (!isObject(document)) throw invalid('not an object');
  const rootfs = document.rootfs;
  const diffIds: unknown = isObject(rootfs) ? rootfs.diff_ids : undefined;
  if (
    !Array.isArray(diffIds) ||
    !diffIds.every((id): id is Digest => typeof id === 'string' && isDigest(id))
  ) {
    throw invalid('rootfs.diff_ids must list digests');
  }
  const container = isObject(document.config) ? document.config : {};
  return {
    architecture: text(document, 'architecture') ?? '',
    os: text(document, 'os') ?? '',
    ...optional('variant', text(document, 'variant')),
    ...optional('created', text(document, 'created')),
    config: {
      ...optional('User', text(container, 'User')),
      ...optional('ExposedPorts', emptyObjects(container, 'ExposedPorts')),
      ...optional('Env', texts(container, 'Env')),
      ...optional('Entrypoint', texts(container, 'Entrypoint')),
      ...optional('Cmd', texts(container, 'Cmd')),
      ...optional('Volumes', emptyObjects(container, 'Volumes')),
      ...optional('WorkingDir', text(container, 'WorkingDir')),
      ...optional('Labels', labels(container)),
      ...optional('StopSignal', text(container, 'StopSignal')),
    },
    diffIds,
    ...optional('history', history(document)),
  };
}

/** One image, one text: fields in a fixed order, maps sorted by name. */
export function encodeImageConfig(image: ImageConfig): Buffer {
  const { config } = image;
  const container = {
    User: config.User,
    ExposedPorts: sorted(config.ExposedPorts),
    Env: config.Env,
    Entrypoint: config.Entrypoint,
    Cmd: config.Cmd,
    Volumes: sorted(config.Volumes),
    WorkingDir: config.WorkingDir,
    Labels: sorted(config.Labels),
    StopSignal: config.StopSignal,
  };
  return Buffer.from(
    JSON.stringify({
      created: image.created,
      architecture: image.architecture,
      os: image.os,
      variant: image.variant,
      config: container,
      rootfs: { type: 'layers', diff_ids: image.diffIds },
      history: image.history,
    }),
  );
}

type JsonObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(object: JsonObject, field: string): string | undefined {
  const value = object[field];
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value !== 'string') throw invalid(`${field} must be text`);
  return value;
}

function texts(object: JsonObject, field: string): string[] | undefined {
  const value = object[field];
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || !value.every((entry): entry is string => typeof entry === 'string')) {
    throw invalid(`${field} must list texts`);
  }
  return value;
}

function emptyObjects(object: JsonObject, field: string): Record<string, Record<string, never>> | undefined {
  const value = object[field];
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) throw invalid(`${field} must be an object`);
  return Object.fromEntries(Object.keys(value).map((name) => [name, {}]));
}

function labels(container: JsonObject): Record<string, string> | undefined {
  const value = container.Labels;
  if (value === undefined || value === null) return undefined;
  if (!isObject(value) || !Object.values(value).every((entry) => typeof entry === 'string')) {
    throw invalid('Labels must hold texts');
  }
  return value as Record<string, string>;
}

function history(document: JsonObject): HistoryEntry[] | undefined {
  const value = document.history;
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) throw invalid('history must be a list');
  return value.map((entry: unknown) => {
    if (!isObject(entry)) throw invalid('history must list objects');
    return {
      ...optional('created', text(entry, 'created')),
      ...optional('created_by', text(entry, 'created_by')),
      ...optional('author', text(entry, 'author')),
      ...optional('comment', text(entry, 'comment')),
      ...(entry.empty_layer === true ? { empty_layer: true } : {}),
    };
  });
}

function sorted<T>(map: Readonly<Record<string, T>> | undefined): Record<string, T> | undefined {
  if (map === undefined || Object.keys(map).length === 0) return undefined;
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function optional<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { [P in K]?: V };
}

function invalid(message: string, cause?: unknown): OciError {
  return new OciError('MANIFEST_INVALID', {
    message: `image config invalid: ${message}`,
    ...(cause === undefined ? {} : { cause }),
  });
}
