import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { layerPart } from '../../builder/plan/layer-part.ts';
import type { BuildPlan } from '../../builder/plan/plan.ts';
import { dockerfileContext, printDockerfile } from '../../builder/plan/print-dockerfile.ts';

/**
 * What Brickyard prints for people who want to build by themselves: `app`'s files parted as the Dockerfile copies them. `host` is the
 * registry that bases are pulled from.
 */
export async function writeDockerContext(
  app: string,
  folder: string,
  { plan, host }: { plan: BuildPlan; host: string },
): Promise<void> {
  const context = dockerfileContext(plan);
  for (const { prefix } of context.trees) await mkdir(join(folder, prefix), { recursive: true });
  for (const entry of await readdir(app, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name).slice(app.length + 1);
    if (path.startsWith('.git/')) continue;
    const place = join(folder, layerPart(path, plan.appname), path);
    await mkdir(dirname(place), { recursive: true });
    await cp(join(app, path), place);
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
