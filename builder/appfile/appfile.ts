import type { DocumentFault, DocumentPath, SourceDocument } from '../../core/document/document.ts';

/** App.yaml v1 as the schema allows it, before defaults: see `schema.ts` for the meaning of each key. */
export interface AppFile {
  readonly apiVersion?: 'v1';
  readonly appname: string;
  readonly base?: string;
  readonly source?: { readonly include?: readonly string[]; readonly exclude?: readonly string[] };
  readonly build?: string | readonly string[] | AppFileBuild;
  readonly test?: string | readonly string[] | AppFileTest;
  readonly entrypoints: Readonly<Record<string, AppFileEntrypoint>>;
  readonly envs?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly dns?: readonly string[];
  readonly extra_hosts?: readonly string[];
  readonly runtime?: string;
  readonly static?: string;
  readonly rebase?: 'never';
  readonly platforms?: readonly string[];
  readonly stop_signal?: string;
  readonly notify?: string;
  readonly deploy?: Readonly<Record<string, unknown>>;
}

export interface AppFileBuild {
  readonly base?: string;
  readonly commands: readonly string[];
  readonly outputs?: Readonly<Record<string, string>>;
  readonly envs?: Readonly<Record<string, string>>;
  readonly cache?: false | readonly string[];
  /** Names. */
  readonly secrets?: readonly string[];
  readonly network?: 'none' | 'proxy' | 'open';
  /** `90s`, `15m`, `1h`. */
  readonly timeout?: string;
}

export interface AppFileTest {
  readonly commands: readonly string[];
  /** Globs in the workspace. */
  readonly artifacts?: readonly string[];
  /** Names. */
  readonly secrets?: readonly string[];
  readonly network?: 'none' | 'proxy' | 'open';
  readonly timeout?: string;
}

export interface AppFileEntrypoint {
  /** Split like a shell does; no shell runs. */
  readonly cmd?: string;
  readonly commands?: readonly string[];
  /** Run by `/bin/sh -c`. */
  readonly shell?: string;
  readonly ports?: readonly (string | number)[];
  readonly healthcheck?: {
    readonly tcp_ports?: readonly number[];
    readonly http_port?: number;
    readonly url?: string;
    readonly code?: number;
  };
  readonly hook?: { readonly after_start?: readonly string[]; readonly before_stop?: readonly string[] };
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: 'app' | 'root';
  readonly dir?: string;
  readonly restart?: 'no' | 'always' | 'on-failure' | 'unless-stopped';
  readonly stop_signal?: string;
  readonly resources?: { readonly cpu?: number; readonly memory?: string };
}

export interface AppFileResult {
  /** Undefined when there is an error among the faults. */
  readonly appfile?: AppFile;
  /** In the order of their places in the file. */
  readonly faults: readonly DocumentFault[];
  /** For `formatFaults`. */
  readonly document: SourceDocument;
  /** Dotted path → place, for faults found later (plan, catalog). */
  locate(
    path: DocumentPath,
    message: { code: string; message: string; hint?: string; severity?: DocumentFault['severity'] },
  ): DocumentFault;
}
