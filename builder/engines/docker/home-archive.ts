import type { Egress } from './egress.ts';
import { tarFile, tarHeader } from './tar-file.ts';
import { buildUser } from './workspace.ts';

/** $HOME of the commands, beside the workspace. No application has such a name. */
export const homeName = '.build';

/** A workspace's archive, with the home folder and its files before it. */
export async function* withHome(
  archive: AsyncIterable<Buffer>,
  files: Egress['files'],
): AsyncGenerator<Buffer, void, undefined> {
  yield tarHeader({ type: 'directory', path: homeName, mode: 0o755, uid: buildUser, gid: buildUser });
  const folders = new Set<string>();
  for (const { path, content } of files) {
    for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
      const folder = path.slice(0, slash);
      if (folders.has(folder)) continue;
      folders.add(folder);
      const name = `${homeName}/${folder}`;
      yield tarHeader({ type: 'directory', path: name, mode: 0o755, uid: buildUser, gid: buildUser });
    }
    yield* tarFile(`${homeName}/${path}`, Buffer.from(content), { owner: buildUser });
  }
  yield* archive;
}
