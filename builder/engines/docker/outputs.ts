import { isUtf8 } from 'node:buffer';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { TarError } from '../../../oci/layer/tar-decode.ts';
import { readTar, type TarEntry } from '../../../oci/layer/tar-reader.ts';
import { isPlainPath } from '../../plan/glob.ts';
import { createOutputMatcher } from '../../plan/outputs.ts';
import type { BuildPlan, BuildStep } from '../../plan/plan.ts';
import { pathText, refusePath } from '../../plan/select-source.ts';
import type { SecretFinder } from '../../secrets/find-secret.ts';
import { tarEnd, tarFile, tarHeader } from './tar-file.ts';
import { buildUser } from './workspace.ts';

/** What a build may hand out; more is a fault of the build (a cache or a core dump in an output). */
export interface OutputLimits {
  readonly entries: number;
  /** Bytes of all files together. */
  readonly bytes: number;
}

export const outputLimits: OutputLimits = { entries: 250_000, bytes: 16 * 1024 ** 3 };

/** The whole workspace may hold more than is handed out (dependency caches), but not without end. */
export const workspaceLimits = { entries: 5_000_000, bytes: 256 * 1024 ** 3 };

export interface OutputsInput {
  readonly plan: BuildPlan;
  readonly step: BuildStep;
  readonly limits: OutputLimits;
  /** What it finds is refused: in names and links before anything is given out, in a file before the whole of that file is. */
  readonly finder?: SecretFinder | undefined;
  /** The workspace, or one file of it, as the engine's archive: its names start with the last part of the asked path. */
  open(path: string): Promise<AsyncIterable<Uint8Array>>;
}

/**
 * Reads the workspace once without its contents and refuses what may not leave it.
 * Errors: JobFailed naming the path and the reason.
 */
export async function checkOutputs(input: OutputsInput): Promise<void> {
  try {
    await checkEntries(input);
  } catch (error) {
    // Odd names and attributes come from the build, not from the engine.
    if (error instanceof TarError) {
      throw new JobFailed(`the outputs were refused: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

async function checkEntries(input: OutputsInput): Promise<void> {
  const { plan, step, limits } = input;
  const places = new Map<string, TarEntry['type']>();
  const files = new Set<string>();
  const linksRefused = new Set(Object.keys(step.outputs).filter(isPlainPath).map(plainKey));
  const selection = createSelection(plan, step);
  let bytes = 0;
  for await (const { entry } of readTar(await input.open(plan.directory), workspaceLimits)) {
    const path = workspacePath(plan, entry.path);
    if (entry.type === 'file') files.add(path);
    const target = selection.target(path, entry.type);
    if (target === undefined) continue;

    const shown = JSON.stringify(pathText(path));
    const refused = refusePath(path) ?? refusePath(target);
    if (refused !== undefined) throw new JobFailed(`output ${shown} cannot enter an image: ${refused}`);
    const told = input.finder?.inText(
      `${pathText(path)}\n${'target' in entry ? pathText(entry.target) : ''}`,
    );
    if (told !== undefined)
      throw new JobFailed(`the name or the target of an output holds the secret "${told}"`);
    if (entry.type === 'symlink' && linksRefused.has(path)) {
      const to = JSON.stringify(pathText(entry.target));
      throw new JobFailed(`output ${shown} is a symbolic link to ${to}: declare what it points to`);
    }
    if (entry.type === 'hardlink' && !files.has(workspacePath(plan, entry.target))) {
      throw new JobFailed(`output ${shown} is a hard link to something outside of the workspace`);
    }
    if (!['file', 'directory', 'symlink', 'hardlink'].includes(entry.type)) {
      throw new JobFailed(
        `output ${shown} is a ${entry.type}: only files, directories and links enter an image`,
      );
    }
    const before = places.get(target);
    if (before !== undefined && !(before === 'directory' && entry.type === 'directory')) {
      throw new JobFailed(
        `output ${shown} would overwrite another output at ${JSON.stringify(`/${pathText(target)}`)}`,
      );
    }
    places.set(target, entry.type);
    bytes += entry.size;
    if (places.size > limits.entries)
      throw new JobFailed(`the outputs hold more than ${limits.entries} entries`);
    if (bytes > limits.bytes) throw new JobFailed(`the outputs hold more than ${limits.bytes} bytes`);
  }
  for (const target of places.keys()) checkParents(target, places);
  const [missing] = selection.missing();
  if (missing !== undefined) {
    throw new JobFailed(`output ${JSON.stringify(missing)} is missing after the build commands`);
  }
}

/** The outputs as a tar with paths absolute in the image (without the leading slash), as they were checked before. */
export async function* outputsArchive(input: OutputsInput): AsyncGenerator<Buffer, void, undefined> {
  const { plan, step } = input;
  const selection = createSelection(plan, step);
  const directories = new Set<string>();
  for await (const { entry, body } of readTar(await input.open(plan.directory), workspaceLimits)) {
    const path = workspacePath(plan, entry.path);
    const target = selection.target(path, entry.type);
    if (target === undefined) continue;

    const owner = isOwn(plan, target) ? buildUser : 0;
    // Neither setuid nor setgid nor sticky leaves a sandbox.
    const mode = entry.mode & 0o777;
    if (entry.type === 'directory') {
      if (directories.has(target)) continue;
      directories.add(target);
      yield tarHeader({ type: 'directory', path: target, mode, uid: owner, gid: owner });
    } else if (entry.type === 'symlink') {
      yield tarHeader({ type: 'symlink', path: target, target: entry.target, uid: owner, gid: owner });
    } else if (entry.type === 'hardlink') {
      yield* linkedFile(input, entry, { path: target, mode, owner });
    } else {
      yield* tarFile(target, withoutSecrets(input, path, body), { size: entry.size, mode, owner });
    }
  }
  yield tarEnd();
}

/** Errors: JobFailed when the file holds a secret. */
function withoutSecrets(
  { finder }: OutputsInput,
  path: string,
  body: AsyncIterable<Buffer>,
): AsyncIterable<Buffer> {
  if (finder === undefined) return body;
  return finder.inContent(body, (secret) => {
    const shown = JSON.stringify(pathText(path));
    throw new JobFailed(
      `output ${shown} holds the secret "${secret}": remove it at the end of the build commands, or declare outputs that leave it behind`,
    );
  });
}

/** A hard link becomes a file of its own: the other name may not be among the outputs. */
async function* linkedFile(
  input: OutputsInput,
  link: TarEntry,
  file: { path: string; mode: number; owner: number },
): AsyncGenerator<Buffer, void, undefined> {
  const path = pathText(workspacePath(input.plan, link.target));
  for await (const { entry, body } of readTar(await input.open(`${input.plan.directory}/${path}`))) {
    if (entry.type !== 'file') break;
    const own = workspacePath(input.plan, link.path);
    yield* tarFile(file.path, withoutSecrets(input, own, body), {
      size: entry.size,
      mode: file.mode,
      owner: file.owner,
    });
    return;
  }
  throw new JobFailed(`output ${JSON.stringify(path)} could not be read`);
}

interface Selection {
  /** Place in the image, without the leading slash, as raw bytes in latin1; undefined = stays behind. */
  target(path: string, type: TarEntry['type']): string | undefined;
  missing(): string[];
}

function createSelection(plan: BuildPlan, step: BuildStep): Selection {
  const place = (path: string, target: string): string => {
    const bytes = Buffer.from(path, 'latin1');
    // A name that is no UTF-8 keeps its bytes; the matcher saw each of them as one character.
    return Buffer.from(target.replace(/^\/+/, ''), isUtf8(bytes) ? 'utf8' : 'latin1').toString('latin1');
  };
  if (Object.keys(step.outputs).length === 0) {
    return {
      target: (path) => (path === '' ? undefined : place(path, `${plan.directory}/${pathText(path)}`)),
      missing: () => [],
    };
  }
  const matcher = createOutputMatcher(step.outputs);
  return {
    target(path, type) {
      if (path === '') return undefined;
      const target = matcher.target(pathText(path), type === 'directory' ? 'directory' : 'file');
      return target === undefined ? undefined : place(path, target);
    },
    missing: () => matcher.missing(),
  };
}

/** Path within the workspace; '' is the workspace itself. Errors: JobFailed for a name that does not lie in it. */
export function workspacePath(plan: BuildPlan, name: string): string {
  const root = plan.directory.slice(plan.directory.lastIndexOf('/') + 1);
  const path = name.replace(/\/+$/, '');
  if (path === root) return '';
  if (path.startsWith(`${root}/`)) return path.slice(root.length + 1);
  throw new JobFailed(
    `the container's archive holds ${JSON.stringify(pathText(name))}, which is not in the workspace`,
  );
}

/** A file below something that is no directory would be written through a link when the layer is laid out. */
function checkParents(target: string, places: ReadonlyMap<string, TarEntry['type']>): void {
  for (let slash = target.indexOf('/'); slash !== -1; slash = target.indexOf('/', slash + 1)) {
    const parent = places.get(target.slice(0, slash));
    if (parent !== undefined && parent !== 'directory') {
      const [below, above] = [target, target.slice(0, slash)].map((path) =>
        JSON.stringify(`/${pathText(path)}`),
      );
      throw new JobFailed(`the outputs put ${below} below ${above}, which is a ${parent}`);
    }
  }
}

function isOwn(plan: BuildPlan, target: string): boolean {
  const own = Buffer.from(plan.directory.slice(1), 'utf8').toString('latin1');
  return target === own || target.startsWith(`${own}/`);
}

function plainKey(key: string): string {
  return Buffer.from(key.replace(/^\.\//, '').replace(/\/+$/, ''), 'utf8').toString('latin1');
}
