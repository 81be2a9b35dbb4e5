import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { parseAppFile } from '../../../../builder/appfile/parse-appfile.ts';
import type { PlannedBase } from '../../../../builder/plan/plan.ts';
import { planBuild } from '../../../../builder/plan/plan-build.ts';
import { printDockerfile } from '../../../../builder/plan/print-dockerfile.ts';
import type { Digest } from '../../../../oci/digest.ts';

const root = resolve(import.meta.dirname, '../../../..');

it("deploy/Dockerfile is what the farm prints of this repository's App.yaml (npm run dockerfile)", async () => {
  const written = readFileSync(join(root, 'deploy/Dockerfile'), 'utf8');
  // Which server was asked, and which image its channel meant, nobody can tell beforehand.
  const [, address = '', repository = '', digest] =
    /^FROM (\S+)\/(baseimages\/\S+)@(\S+)$/m.exec(written) ?? [];
  const base = (name: string): PlannedBase => ({
    name,
    repository,
    digest: digest as Digest,
    launcher: true,
  });
  const known = (name: string): boolean => repository === `baseimages/${name.split(':')[0]}`;

  const { plan, faults } = await planBuild({
    appfile: parseAppFile('App.yaml', readFileSync(join(root, 'App.yaml'))),
    team: 'team',
    resolveBase: async (name) =>
      known(name) ? base(name) : { error: `there is no ${name}`, suggestions: [] },
  });

  expect(faults).toEqual([]);
  if (plan === undefined) throw new Error('there is no plan');
  const baseReference = (planned: PlannedBase): string =>
    `${address}/${planned.repository}@${planned.digest}`;
  expect(printDockerfile(plan, { baseReference })).toBe(written);
});
