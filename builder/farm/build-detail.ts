import type { ObjectStore } from '../../core/object-store/object-store.ts';
import type { CacheOutcome } from '../engines/engine.ts';
import type { BuildPhase } from './build-phases.ts';

/** One attempt of a build, as it is remembered beside the job's record: too large for what a listing reads. */
export interface AttemptDetail {
  readonly version: 1;
  /** Of the job's take-up; rises with each. */
  readonly fence: number;
  /** Which machine and process. */
  readonly worker?: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly endedAt: string;
  /** `fault`: the farm's own, so it is tried again; `stopped`: cancelled, or handed back. */
  readonly outcome: 'succeeded' | 'failed' | 'stopped' | 'fault';
  /** Why it did not succeed, for people. */
  readonly reason?: string;
  /** Milliseconds. */
  readonly phases: Partial<Record<BuildPhase, number>>;
  /** Dependency caches that were looked for, by what was there. */
  readonly caches: Readonly<Record<CacheOutcome, number>>;
  /** Of its log, with what was left out of it. */
  readonly logBytes: number;
  readonly apps: readonly AppDetail[];
}

/** One application of it. */
export interface AppDetail {
  /** Of its App.yaml, '' for the top. */
  readonly directory: string;
  /** Image repository. */
  readonly repository: string;
  /** In words. */
  readonly plan: string;
  /** What would make the same image. */
  readonly dockerfile: string;
  readonly inputs: {
    readonly commit: string;
    /** Names its files: of a commit the git tree. */
    readonly tree: string;
    readonly base: string;
    readonly buildBase?: string;
    readonly testBase?: string;
    /** Equal keys give equal images. */
    readonly buildKey: string;
    /** Which code assembled it, and on which runtime: compressed layers depend on it. */
    readonly engine: string;
  };
  readonly digest?: string;
  /** The build that made the image, where its files had not changed. */
  readonly unchanged?: string;
  readonly layers?: LayerCounts;
}

/** Bytes and layers: base layers that were mounted, own ones that were there already, and new ones. */
export interface LayerCounts {
  readonly mountedBytes: number;
  readonly mountedLayers: number;
  readonly skippedBytes: number;
  readonly skippedLayers: number;
  readonly storedBytes: number;
  readonly storedLayers: number;
}

export interface BuildDetails {
  /** Errors: ObjectStoreUnavailable. */
  write(build: string, detail: AttemptDetail): Promise<void>;
  /** Attempts that came to an end, in their order; one whose worker was killed left nothing. Errors: ObjectStoreUnavailable. */
  list(build: string): Promise<readonly AttemptDetail[]>;
  /** Errors: ObjectStoreUnavailable. */
  get(build: string, fence: number): Promise<AttemptDetail | undefined>;
}

/** A build is tried a few times; a queue that hands it over without end is not remembered to the end. */
const mostAttempts = 50;

export function createBuildDetails(store: ObjectStore): BuildDetails {
  const prefix = (build: string): string => `builds-detail/${build}/`;
  const key = (build: string, fence: number): string => `${prefix(build)}${String(fence).padStart(6, '0')}`;

  async function read(from: string): Promise<AttemptDetail | undefined> {
    const object = await store.get(from);
    return object === undefined ? undefined : (JSON.parse(object.body.toString('utf8')) as AttemptDetail);
  }

  return {
    async write(build, detail) {
      await store.put(key(build, detail.fence), Buffer.from(JSON.stringify(detail)), {
        durability: 'process',
      });
    },
    async list(build) {
      const { objects } = await store.list({ prefix: prefix(build), limit: mostAttempts });
      const found = await Promise.all(objects.map((object) => read(object.key)));
      return found.flatMap((detail) => detail ?? []);
    },
    get: (build, fence) => read(key(build, fence)),
  };
}
