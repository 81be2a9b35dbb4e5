import { cp, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { layerPart } from '../../builder/plan/layer-part.ts';
import type { BuildPlan } from '../../builder/plan/plan.ts';
import { dockerfileContext, printDockerfile } from '../../builder/plan/print-dockerfile.ts';
import { selectSource } from '../../builder/plan/select-source.ts';
import type { SourceEntry } from '../../builder/plan/source-tree.ts';

/**
 * What Brickyard prints for people who want to build by themselves: `app`'s files laid out as the Dockerfile copies them. `host` is the
 * registry that bases are pulled from.
 */
export async function writeDockerContext(
  app: string,
  folder: string,
  { plan, host }: { plan: BuildPlan; host: string },
): Promise<void> {
  const context = dockerfileContext(plan);
  const entries = await listFiles(app);
  for (const { prefix, selection, part } of context.trees) {
    await mkdir(join(folder, prefix), { recursive: true });
    for (const { path } of selectSource(entries, selection).entries) {
      if (part !== undefined && layerPart(path, plan.appname) !== part) continue;
      await mkdir(dirname(join(folder, prefix, path)), { recursive: true });
      await cp(join(app, path), join(folder, prefix, path));
    }
  }
  for (const file of context.files) {
    await mkdir(dirname(join(folder, file.path)), { recursive: true });
    await writeFile(join(folder, file.path), file.content, { mode: file.mode });
  }
  await writeFile(
    join(folder, 'Dockerfile'),
    printDockerfile(plan, { baseReference: (base) => `${host}/${base.repository}@${base.digest}` }),
  );
}

async function listFiles(folder: string): Promise<readonly SourceEntry[]> {
  const paths = await readdir(folder, { recursive: true });
  const found: SourceEntry[] = [];
  for (const path of paths) {
    if ((await stat(join(folder, path))).isFile()) found.push({ path, kind: 'file', id: path });
  }
  return found;
}
