import { posix } from 'node:path';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import { lfsPointerReason } from '../../plan/lfs-pointer.ts';
import { shellQuote } from '../../plan/role-file.ts';
import { maxRuntimeScriptBytes } from '../../plan/runtime-script.ts';
import { contentSelection, maxIgnoreFileBytes, pathText, selectSource } from '../../plan/select-source.ts';
import type { ScriptRunInput } from '../engine.ts';
import { tarEnd, tarFile, tarHeader } from './tar-file.ts';
import { buildUser, workspaceArchive } from './workspace.ts';

/** Beside the files of the image, so that a script which is not among them leaves nothing there. No application has such a name. */
const scriptFolder = '.static';

/**
 * What a `static` script works on: the files of the source that belong into the image, an empty $HOME, and the script. Errors: JobFailed for what
 * cannot enter an image.
 */
export async function scriptArchive(input: {
  readonly plan: ScriptRunInput['plan'];
  readonly source: ScriptRunInput['source'];
  readonly mountPoint: string;
  /** Name of the app's directory. */
  readonly root: string;
  readonly homeName: string;
}): Promise<{ commands: readonly string[]; archive: AsyncIterable<Buffer> }> {
  const { plan, source, mountPoint, root, homeName } = input;
  const script = await source.readFile(plan.staticScript, maxRuntimeScriptBytes);
  if (script === undefined) throw new JobFailed(`${plan.staticScript} is not a file of the source`);
  const ignore = await source.readFile('.dockerignore', maxIgnoreFileBytes);
  const selected = selectSource(await source.entries(), contentSelection(plan), ignore?.toString());
  const [refused] = selected.refused;
  if (refused !== undefined) {
    throw new JobFailed(`${JSON.stringify(refused.path)} cannot enter an image: ${refused.reason}`);
  }
  const place = `${scriptFolder}/${posix.basename(plan.staticScript)}`;
  const onPointer = (path: string): void => {
    throw new JobFailed(`${JSON.stringify(pathText(path))} cannot enter an image: ${lfsPointerReason}`);
  };
  return {
    commands: [`exec ${shellQuote(`${mountPoint}/${place}`)}`],
    archive: (async function* () {
      yield tarHeader({ type: 'directory', path: homeName, mode: 0o755, uid: buildUser, gid: buildUser });
      yield tarHeader({ type: 'directory', path: scriptFolder, mode: 0o755, uid: 0, gid: 0 });
      yield* tarFile(place, script, { mode: 0o755 });
      yield* workspaceArchive(source, selected.entries, { root, onPointer });
    })(),
  };
}

/** An archive that a sandbox handed out, its names without `prefix` and all of it the build user's. Errors: JobFailed for names without it. */
export async function* relocated(
  archive: AsyncIterable<Uint8Array>,
  prefix: string,
): AsyncGenerator<Buffer, void, undefined> {
  const owner = { uid: buildUser, gid: buildUser };
  for await (const { entry, body } of readTar(archive)) {
    if (!entry.path.startsWith(prefix)) {
      throw new JobFailed(`output ${JSON.stringify(pathText(entry.path))} does not lie below /${prefix}`);
    }
    const path = entry.path.slice(prefix.length).replace(/\/+$/, '');
    if (path === '') continue;
    const { mode } = entry;
    if (entry.type === 'directory') yield tarHeader({ type: 'directory', path, mode, ...owner });
    else if (entry.type === 'symlink')
      yield tarHeader({ type: 'symlink', path, target: entry.target, ...owner });
    else yield* tarFile(path, body, { size: entry.size, mode, owner: buildUser });
  }
  yield tarEnd();
}
