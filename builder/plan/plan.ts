import type { Digest } from '../../oci/digest.ts';

/**
 * What an App.yaml asks for, with every default filled in and nothing left to interpret: the one thing that the Dockerfile
 * printer, the assembler and the container engines read. Pure data, made by `planBuild`.
 */
export interface BuildPlan {
  /** Image repository, `<team>/<appname>`. */
  readonly repository: string;
  readonly appname: string;
  readonly base: PlannedBase;
  /** `/home/<appname>`: where the source lands. */
  readonly directory: string;
  /** What of the source enters the image when there are no outputs. */
  readonly source: SourceSelection;
  /** Commands that run in a container before the image is assembled; undefined = no code runs. */
  readonly build?: BuildStep;
  /** Commands that must succeed before the image is made; undefined = none. */
  readonly test?: TestStep;
  /** In the order of App.yaml; the first is the default role. */
  readonly roles: readonly Role[];
  readonly environment: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly stopSignal?: string;
  /** Declared paths (config `Volumes`). */
  readonly volumes: readonly string[];
  /** Path in the source of the script that runs at each start, before the role. */
  readonly runtimeScript?: string;
  /** Path in the source of the script that runs when the image is made, over its files and in its base. */
  readonly staticScript?: string;
  /** `linux/amd64` …: the image is an index of one image for each, which share the app's layers. Undefined = one image, this machine's. */
  readonly platforms?: readonly string[];
  /** The image must not be rebased, because files of it may replace some of its base. */
  readonly rebase?: 'never';
}

export interface PlannedBase {
  /** As written: `nodejs:26`. */
  readonly name: string;
  /** Repository in the own registry, e.g. `baseimages/nodejs`. */
  readonly repository: string;
  /** The manifest, resolved when the plan was made; a moving channel does not change a plan. */
  readonly digest: Digest;
  /** False: no shell in it, so one role is the direct entrypoint. */
  readonly launcher: boolean;
}

export interface SourceSelection {
  readonly include: readonly string[];
  readonly exclude: readonly string[];
}

/** What commands reach: nothing; the hosts that the server lists; every public one. */
export type StepNetwork = 'none' | 'proxy' | 'open';

export interface BuildStep {
  readonly base: PlannedBase;
  /** Shell lines, run with `/bin/sh -ec` one after another in `directory`. */
  readonly commands: readonly string[];
  /** Of the commands and of tests after them; undefined = none. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Names of secrets: files under /run/secrets; undefined = none. */
  readonly secrets?: readonly string[];
  /** Paths below $HOME, as `~/.m2`, that are kept between builds; false = none, undefined = those of the package managers whose lockfiles are there. */
  readonly cache?: false | readonly string[];
  /** Path or glob in the workspace → absolute path in the image. Empty = the whole workspace enters the image. */
  readonly outputs: Readonly<Record<string, string>>;
  readonly network: StepNetwork;
  readonly timeoutSeconds: number;
}

/** Runs over what `build` left, or else over the source, without any effect on the image. */
export interface TestStep {
  readonly base: PlannedBase;
  readonly environment?: Readonly<Record<string, string>>;
  /** As in `BuildStep`; those of the build are not there. */
  readonly secrets?: readonly string[];
  readonly commands: readonly string[];
  /** Globs in the workspace: files that are kept with the build. */
  readonly artifacts: readonly string[];
  readonly network: StepNetwork;
  readonly timeoutSeconds: number;
}

export interface Role {
  readonly name: string;
  /** The argv that the launcher executes. */
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly user: 'app' | 'root';
  readonly ports: readonly Port[];
  readonly healthcheck?: {
    readonly port?: number;
    readonly url?: string;
    readonly code?: number;
    readonly tcpPorts?: readonly number[];
  };
  readonly hooks?: { readonly afterStart?: readonly string[]; readonly beforeStop?: readonly string[] };
  readonly resources?: { readonly cpu?: number; readonly memoryBytes?: number };
  readonly restart?: string;
  /** `SIGTERM` … */
  readonly stopSignal?: string;
}

export interface Port {
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  /** What App.yaml said beyond tcp/udp, e.g. `http`; kept for the labels. */
  readonly scheme?: string;
}
