/**
 * One entry of the catalog: `<catalog>/<name>/base.yaml` or, where a name has several versions, `<catalog>/<name>/<version>/base.yaml`.
 * See `docs/base-images.md`. Beside it may lie `static.sh`, `static/` and `runtime.sh`.
 */
export interface BaseFile {
  /** Lower case; the repository is `baseimages/<name>`. Several entries may have one name and different channels. */
  readonly name: string;
  /** Goes into the immutable tag `<version>-<key8>`. Text: `"17.0"`. */
  readonly version: string;
  /** Moving tags; the first is the one that stands for the entry. Each belongs to one entry of a name. */
  readonly channels: readonly string[];
  /** One sentence for people. Default: none. */
  readonly description?: string;
  /** Whom to ask: teams or addresses. Default: nobody. */
  readonly owners?: readonly string[];
  /** Debian's names of the architectures that it can be built for. Default: all that the builder knows. */
  readonly architectures?: readonly BaseArchitecture[];
  /** Why nobody has built it yet: it is listed and checked, but only built when it is named. Default: it was built and tested. */
  readonly untested?: string;
  /** `name:channel` of another entry. Undefined = this is the bottom. */
  readonly parent?: string;
  /** Debian packages that are laid out as a whole system; only without a parent. */
  readonly debian?: {
    readonly suite: string;
    readonly packages: readonly string[];
    /** Globs of paths that are left out; the last match counts, `!` takes back. */
    readonly exclude?: readonly string[];
  };
  /** An image of Docker Hub instead of packages: `docker.io/…@sha256:…`. */
  readonly image?: string;
  /** Packages that static.sh's container gets from an offline repository; only on a parent. Default: none. */
  readonly packages?: {
    /** Names of Debian packages; what they need comes with them, without recommendations. */
    readonly apt: readonly string[];
  };
  /** Packages of npm whose files are taken as they are. Default: none. */
  readonly npm?: readonly BaseFileNpm[];
  /** Files and archives from elsewhere, each with its checksum. Default: none. */
  readonly sources?: readonly BaseFileSource[];
  /** Added to the parent's; values are literal. Default: none. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Account that containers start as, `name`, `uid` or `uid:gid`. Default: the parent's; root at the bottom. */
  readonly user?: string;
  /** Directory that containers start in. Default: the parent's. */
  readonly workdir?: string;
  /** Ports, `8080` or `"53/udp"`, added to the parent's. Default: none. */
  readonly expose?: readonly (number | string)[];
  /** What containers start without further arguments. Default: the parent's. */
  readonly command?: readonly string[];
  /** Where a runtime script of this entry stands in the order of all levels (0–99); the script is `runtime.sh` beside base.yaml. */
  readonly runtime?: { readonly order: number };
  /** What images that stand on it may rely on. Default: nothing, so that a change means to rebuild them. */
  readonly contract?: {
    /** Images of equal abi can stand in for one another. */
    readonly abi: string;
    /** Whether an app may be moved to a newer image of it: always, within one minor version, or never. Default: `never`. */
    readonly rebase?: BaseRebase;
  };
  /** It should not, or must not, be used any more. Default: it may. */
  readonly deprecation?: BaseDeprecation;
  /** What must hold before a channel moves to a new image. Default: nothing is tried. */
  readonly test?: {
    /** Shell lines, each run by `/bin/sh -ec` in the new image, without network, as user 10001; needs a container engine. */
    readonly commands?: readonly string[];
    /** Absolute paths that must exist in the image and be no directory; needs no engine. */
    readonly files?: readonly string[];
  };
  /** For static.sh, and for all test commands together: `90s`, `15m`, `1h`. Default: `15m`. */
  readonly timeout?: string;
}

export type BaseArchitecture = 'amd64' | 'arm64';

export type BaseRebase = 'compatible' | 'minor' | 'never';

export interface BaseDeprecation {
  /** `warn`: builds say it; `block-new`: apps that do not use it yet may not; `block`: nobody may. */
  readonly level: 'warn' | 'block-new' | 'block';
  /** Day from which this counts, `2026-01-31`. Default: already. */
  readonly since?: string;
  /** Day from which `block` counts whatever the level says. Default: never. */
  readonly sunset?: string;
  /** `name:channel` of what to use instead. Default: nothing is proposed. */
  readonly replacement?: string;
}

export interface BaseFileNpm {
  /** One name for all, or one by architecture (`amd64`, `arm64`). */
  readonly package: string | Readonly<Record<string, string>>;
  readonly version: string;
  /** `sha512-…` as npm writes it, one for all or by architecture. */
  readonly integrity: string | Readonly<Record<string, string>>;
  /** Path in the archive → absolute path in the image, files or directories. */
  readonly files: Readonly<Record<string, string>>;
  /** Symlinks: absolute path → target. */
  readonly links?: Readonly<Record<string, string>>;
}

/** Exactly one of `maven`, `npm`, `url` and `git` says what it is; where it comes from is the machine's own settings or a mirror. */
export interface BaseFileSource {
  /** Of the file that static.sh finds under `$SOURCES`; unique in its entry and architecture. */
  readonly name: string;
  /** `group:artifact:version[:packaging[:classifier]]`; packaging is `jar` unless said otherwise. */
  readonly maven?: string;
  /** `name@version` of the archive that `npm pack` fetches. */
  readonly npm?: string;
  /** `https://…`, without credentials. */
  readonly url?: string;
  /** A commit's files as a tar archive. */
  readonly git?: {
    readonly url: string;
    /** Full id, 40 or 64 hex digits. */
    readonly commit: string;
  };
  /** Of the file, 64 hex digits. For `git` of the tar archive. Without it the entry cannot be built; only an untested one may lack it. */
  readonly sha256?: string;
  /** Bytes of the file. Default: not checked, at most 4 GiB. */
  readonly size?: number;
  /** Further addresses of the same file, tried in this order after the first; they may lie in a private network. */
  readonly mirrors?: readonly string[];
  /** Architectures that need it. Default: all. */
  readonly architectures?: readonly BaseArchitecture[];
  /**
   * Path in the archive → absolute path in the image; `""` is the whole archive. A file that is no archive, or one that enters as it
   * is: `{".": /opt/x.jar}`. Without `unpack` and `links` only static.sh sees the file.
   */
  readonly unpack?: Readonly<Record<string, string>>;
  /** Leading parts that are cut from every path in the archive before `unpack` looks at it. Default: 0. */
  readonly strip?: number;
  /** Symlinks: absolute path → target. Default: none. */
  readonly links?: Readonly<Record<string, string>>;
}
