import { ArchiveError } from '../../core/archive/archive-error.ts';
import type { ArchiveLimits } from '../../core/archive/archive-limits.ts';
import { createLimit } from '../../oci/copy/limit.ts';
import { findAppFile } from '../appfile/parse-appfile.ts';
import type { BuildService } from '../farm/build-service.ts';
import type { CommitWriter } from '../git/fast-import.ts';
import type { GitHost, RefUpdate } from '../git/git-host.ts';
import { timeOrderedId } from '../git/time-ordered-id.ts';
import type { PackageName } from './package-name.ts';
import { type PackageNote, packageOption } from './package-note.ts';
import { type PackageHints, type PackageProposal, proposePackage } from './propose-package.ts';
import { readJarManifest } from './read-jar-manifest.ts';
import { readArchive, readZip } from './read-package.ts';
import { type SpooledPackage, spoolPackage } from './spool-package.ts';

/** A package that cannot become an image; the message says why and what to do. */
export class PackageRefused extends Error {
  override readonly name = 'PackageRefused';
}

/** What one server takes. */
export interface PackageLimits {
  /** Of the package itself. */
  readonly maxBytes: number;
  /** Of what it unpacks to. */
  readonly maxUnpackedBytes: number;
}

/** Bytes: a release of 2 GiB, and 8 GiB of files. */
export const defaultPackageLimits: PackageLimits = {
  maxBytes: 2 * 1024 ** 3,
  maxUnpackedBytes: 8 * 1024 ** 3,
};

/** A package on its way in; team and app were checked, and so was the sender's right to build there. */
export interface PackageUpload {
  readonly team: string;
  readonly app: string;
  readonly pusher: string;
  /** `host[:port]` that the sender used. */
  readonly host?: string;
  readonly name: PackageName;
  /** Default: the version in the name, else `latest`. */
  readonly tag?: string;
  /** An App.yaml for a package that has none. */
  readonly appfile?: string;
  readonly hints: PackageHints;
  /** What the bytes must have; lower-case hex. */
  readonly sha256?: string;
  readonly body: AsyncIterable<Uint8Array>;
}

export interface PackageService {
  readonly limits: PackageLimits;
  /**
   * Stores the package's files as a commit under `refs/brickyard/…` and queues its build. The same files sent again while their build waits or runs get
   * that build. Errors: PackageRefused, PackageTooLarge, ObjectStoreFull, ENOSPC; what the body fails with.
   */
  accept(upload: PackageUpload): Promise<RefUpdate>;
}

/** Packages that are unpacked at once; others wait with their bytes on disk. */
const importsAtOnce = 2;
/** What a proposal looks into. */
const wanted = ['package.json'];
/** Where the servers of the catalog look for the application at `/`. */
const warPlace = 'webapps/ROOT';

export function createPackageService(deps: {
  git: Pick<GitHost, 'importCommit'>;
  builds: Pick<BuildService, 'get'>;
  /** For packages that arrive. */
  folder: string;
  limits?: PackageLimits;
}): PackageService {
  const { git, builds, folder, limits = defaultPackageLimits } = deps;
  const limit = createLimit(importsAtOnce);
  const archiveLimits: ArchiveLimits = { bytes: limits.maxUnpackedBytes };

  return {
    limits,
    async accept(upload) {
      const spooled = await spoolPackage(upload.body, { folder, maxBytes: limits.maxBytes });
      try {
        if (upload.sha256 !== undefined && upload.sha256 !== spooled.sha256) {
          throw new PackageRefused(
            `${upload.name.file} arrived with the SHA-256 ${spooled.sha256}, not ${upload.sha256}: send it again`,
          );
        }
        const tag = upload.tag ?? upload.name.tag ?? 'latest';
        return await limit(() =>
          git.importCommit(
            {
              team: upload.team,
              app: upload.app,
              ref: `refs/brickyard/package-${timeOrderedId()}`,
              pusher: upload.pusher,
              ...(upload.host === undefined ? {} : { host: upload.host }),
              message: 'package',
              reuse: async ({ id }) => {
                const build = await builds.get(id);
                // The same files under another tag are another wish.
                return isOpen(build?.state) && build?.request.tag === tag;
              },
            },
            async (commit) => {
              const note = await fill(commit, upload, spooled, archiveLimits);
              // Nobody follows it on the way in: the log is asked for by the build's id.
              return { options: [`tag=${tag}`, packageOption(note), 'build.nowait'] };
            },
          ),
        );
      } catch (error) {
        if (!(error instanceof ArchiveError)) throw error;
        throw new PackageRefused(`${upload.name.file} was refused: ${error.message}`, { cause: error });
      } finally {
        await spooled.close();
      }
    },
  };
}

function isOpen(state: string | undefined): boolean {
  return state === 'queued' || state === 'running';
}

/** Lays the package's files into the commit, and an App.yaml where there is none. */
async function fill(
  commit: CommitWriter,
  upload: PackageUpload,
  spooled: SpooledPackage,
  limits: ArchiveLimits,
): Promise<PackageNote> {
  const { name } = upload;
  const content =
    name.kind === 'archive'
      ? await fillArchive(commit, spooled, limits)
      : name.kind === 'war'
        ? await fillWar(commit, spooled, limits)
        : await fillJar(commit, name, spooled);
  const note = {
    name: name.file,
    sha256: spooled.sha256,
    bytes: spooled.size,
    files: content.files,
    ...(content.top === undefined ? {} : { top: content.top }),
  };
  const own = name.kind === 'archive' ? findAppFile(content.names) : undefined;
  const { appfile, hints } = upload;
  if (own !== undefined) {
    if (appfile === undefined && Object.keys(hints).length === 0) return { ...note, appfile: 'own' };
    throw new PackageRefused(
      `${name.file} brings its own ${own.name}, which counts; leave --app, --base, --command and --port out`,
    );
  }
  if (appfile !== undefined && Object.keys(hints).length > 0) {
    throw new PackageRefused(
      'an App.yaml was given, so leave --base, --command and --port out: it says all of that',
    );
  }
  const text =
    appfile ??
    textOf(proposePackage({ name, app: upload.app, names: content.names, read: content.read, hints }));
  const bytes = Buffer.from(text);
  commit.place('App.yaml', 'file', await commit.content(bytes.length, chunksOf(bytes)));
  return { ...note, appfile: appfile === undefined ? 'proposed' : 'given' };
}

function textOf(proposal: PackageProposal): string {
  if ('refused' in proposal) throw new PackageRefused(proposal.refused);
  return proposal.text;
}

/** What of a package is known once its files are placed. */
interface Filled {
  readonly files: number;
  readonly top?: string;
  /** At the top of the commit. */
  readonly names: readonly string[];
  readonly read: (name: string) => string | undefined;
}

async function fillArchive(
  commit: CommitWriter,
  spooled: SpooledPackage,
  limits: ArchiveLimits,
): Promise<Filled> {
  const { tree, texts } = await readArchive(spooled, { commit, limits, wanted });
  const top = tree.top();
  const files = tree.files(top);
  if (files.length === 0) throw new ArchiveError('it holds no files');
  for (const { path, kind, content } of files) commit.place(path, kind, content);
  return {
    files: files.length,
    ...(top === undefined ? {} : { top: Buffer.from(top, 'latin1').toString('utf8') }),
    names: tree.names(top ?? ''),
    read: (name) => texts.get(top === undefined ? name : `${top}/${name}`),
  };
}

/**
 * Exploded, because: git and the registry then keep what did not change between two releases once, most of a WAR being libraries; the
 * server starts without unpacking, also on a read-only root; and what is in the image can be seen.
 */
async function fillWar(
  commit: CommitWriter,
  spooled: SpooledPackage,
  limits: ArchiveLimits,
): Promise<Filled> {
  const { tree } = await readZip(spooled, { commit, limits, wanted: [] });
  const files = tree.files();
  if (files.length === 0) throw new ArchiveError('it holds no files');
  for (const { path, kind, content } of files) commit.place(`${warPlace}/${path}`, kind, content);
  return { files: files.length, names: [], read: () => undefined };
}

/** In one piece: `java -jar` takes nothing else, and frameworks read their own jar. */
async function fillJar(commit: CommitWriter, name: PackageName, spooled: SpooledPackage): Promise<Filled> {
  const manifest = await readJarManifest(spooled);
  const path = Buffer.from(name.file, 'utf8').toString('latin1');
  commit.place(path, 'file', await commit.content(spooled.size, spooled.stream()));
  return { files: 1, names: [name.file], read: () => manifest };
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Buffer, void, undefined> {
  if (bytes.length > 0) yield bytes;
}
