import type { Readable } from 'node:stream';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { CacheLimits } from '../cache/cache-archive.ts';
import type { FoundCache } from '../cache/dependency-cache.ts';
import type { BuildPlan, BuildStep, TestStep } from '../plan/plan.ts';
import type { SourceTree } from '../plan/source-tree.ts';
import type { SecretFinder } from '../secrets/find-secret.ts';
import type { Masker } from '../secrets/masker.ts';

/** What a build writes for people: complete lines without their line end. */
export type BuildLog = (line: string) => void;

export type CacheOutcome = 'hit' | 'partial' | 'miss';

export interface EngineContext {
  readonly signal: AbortSignal;
  readonly log: BuildLog;
  /** Told how long a part of the work took; what it is not told of counts as the sandbox's own. */
  readonly phase?: (name: 'restore' | 'build' | 'test' | 'static', milliseconds: number) => void;
  /** Told of each dependency cache that was looked for; `partial`: that of other lockfiles was there. */
  readonly cache?: (outcome: CacheOutcome) => void;
}

/** Makes the final image of a plan in the registry and says what it cost. The assembler is the one that ships; others exist for comparison. */
export interface BuildEngine {
  readonly name: string;
  build(input: EngineInput, context: EngineContext): Promise<EngineResult>;
}

export interface EngineInput {
  readonly plan: BuildPlan;
  readonly source: SourceTree;
  /** Files that `build:` commands made, as a tar with paths absolute in the image; undefined when the plan has no build step. */
  readonly outputs?: Readable;
  /** Manifest annotations (`org.opencontainers.image.*`); commit-specific facts live here, never in layers or config. */
  readonly annotations: Readonly<Record<string, string>>;
  /** Tags to set when everything is in place. */
  readonly tags: readonly string[];
}

export interface EngineResult {
  readonly manifest: Descriptor;
  /** Bytes of base layers that were made readable without being moved. */
  readonly mountedBytes: number;
  readonly mountedLayers: number;
  /** Bytes of own layers that the registry already had. */
  readonly skippedBytes: number;
  readonly skippedLayers: number;
  /** Bytes newly stored. */
  readonly storedBytes: number;
  readonly storedLayers: number;
}

/** Runs the commands of App.yaml in containers over a copy of the source and hands back only what was declared. */
export interface Sandbox {
  readonly name: string;
  /**
   * Returns a tar of the declared outputs (or of the whole workspace), checked entry by entry, with paths absolute in the image; an empty one
   * without a `step`. Tests run before it returns, and cannot change what it holds.
   * Errors: JobFailed when a command fails, a limit is hit or an output is missing; BaseImageGone.
   */
  run(input: SandboxInput, context: EngineContext): Promise<Readable>;
  /**
   * Runs `plan.staticScript` in the app's own base over the files that the image will hold, and returns all of them as they are then, like `run`.
   * `outputs` is what `run` gave for the plan's build; it is taken to its end or destroyed. Errors: as `run`.
   */
  runScript(input: ScriptRunInput, context: EngineContext): Promise<Readable>;
}

export interface ScriptRunInput {
  readonly plan: BuildPlan & { readonly staticScript: string };
  readonly source: SourceTree;
  readonly outputs?: Readable;
}

export interface SandboxInput {
  readonly plan: BuildPlan;
  /** Whose outputs are handed back. */
  readonly step?: BuildStep;
  /** Runs over what `step` left behind, or else over the source. */
  readonly test?: TestStep;
  readonly source: SourceTree;
  /** What the steps' `secrets` name; a name without a value has no file. Undefined = no step gets any. */
  readonly secrets?: StepSecrets;
  /** Dependencies that are kept from build to build; default none. */
  readonly caches?: readonly BuildCache[];
  /** Takes what the tests left and `test.artifacts` names, also when one of them failed. */
  readonly keep?: (artifacts: readonly TestArtifact[]) => Promise<void>;
}

/** What package managers keep from one build to the next. A build goes on without it where it cannot be had. */
export interface BuildCache {
  /** For people: `npm`. */
  readonly name: string;
  /** What `paths` are relative to: $HOME of the commands, or the folder with the source. */
  readonly place: 'home' | 'workspace';
  readonly paths: readonly string[];
  readonly limits: CacheLimits;
  /** What an earlier build left; undefined = nothing. Errors: ObjectStoreUnavailable. */
  find(): Promise<FoundCache | undefined>;
  /** Takes a tar relative to that place; returns the bytes that it takes in the store. Undefined: this build leaves nothing to others. */
  readonly save?: (archive: AsyncIterable<Buffer>, signal: AbortSignal) => Promise<number>;
}

/** Secrets of one build. */
export interface StepSecrets {
  /** By name. */
  readonly values: ReadonlyMap<string, Buffer>;
  /** Takes them out of what the commands write. */
  readonly masker: Masker;
  /** Finds them in outputs, which fails the build. */
  readonly finder: SecretFinder;
}

export interface TestArtifact {
  /** In the workspace. */
  readonly path: string;
  readonly content: Buffer;
}
