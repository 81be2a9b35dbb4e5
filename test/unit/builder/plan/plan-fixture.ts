import { parseAppFile } from '../../../../builder/appfile/parse-appfile.ts';
import type { BuildPlan, PlannedBase } from '../../../../builder/plan/plan.ts';
import { type PlanInput, type PlanResult, planBuild } from '../../../../builder/plan/plan-build.ts';
import { digestOf } from '../../../../oci/digest.ts';

export function base(name: string, launcher = true): PlannedBase {
  const repository = `baseimages/${name.split(':')[0]}`;
  return { name, repository, digest: digestOf(name), launcher };
}

const catalog = ['base:12', 'nodejs:26', 'jdk:8', 'jdk-build:8'];

/** Plans an App.yaml over a small catalog, in which `bare:1` has no launcher. */
export function planText(
  text: string,
  fileNames: readonly string[] = [],
  more: Partial<PlanInput> = {},
): Promise<PlanResult> {
  return planBuild({
    appfile: parseAppFile('App.yaml', text),
    team: 'team',
    fileNames,
    resolveBase: (name) => {
      if (name === 'bare:1') return Promise.resolve(base(name, false));
      if (catalog.includes(name)) return Promise.resolve(base(name));
      return Promise.resolve({ error: `there is no base image ${name}`, suggestions: ['nodejs:26'] });
    },
    ...more,
  });
}

/** As `planText`, for files without fault. */
export async function planOf(text: string): Promise<BuildPlan> {
  const { plan, faults } = await planText(text);
  if (plan === undefined) throw new Error(`no plan: ${JSON.stringify(faults)}`);
  return plan;
}

export function baseReference(planned: PlannedBase): string {
  return `127.0.0.1:5000/${planned.repository}@${planned.digest}`;
}
