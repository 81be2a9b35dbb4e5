import type { DocumentFault } from '../../core/document/document.ts';
import type { AppFileResult } from '../appfile/appfile.ts';
import { appFileCodes } from '../appfile/codes.ts';
import type { BuildPlan } from '../plan/plan.ts';
import type { SecretStore } from '../secrets/secret-store.ts';
import { secretNames } from './with-secrets.ts';

/** Faults at the names under `secrets` that nobody has set for `owner`, the git repository `team/app`. */
export async function missingSecrets(
  secrets: Pick<SecretStore, 'versions'>,
  {
    owner,
    plan,
    parsed,
  }: { readonly owner: string; readonly plan: BuildPlan; readonly parsed: AppFileResult },
): Promise<readonly DocumentFault[]> {
  const names = secretNames(plan);
  if (names.length === 0) return [];
  const there = await secrets.versions(owner, names);
  const missing = (names: readonly string[] = [], step: 'build' | 'test'): DocumentFault[] =>
    names.flatMap((name, index) => {
      if (Object.hasOwn(there, name)) return [];
      const message = `${owner} has no secret "${name}"`;
      const hint = `run "brickyard secret set ${owner} ${name}"`;
      return [parsed.locate([step, 'secrets', index], { code: appFileCodes.secret, message, hint })];
    });
  return [...missing(plan.build?.secrets, 'build'), ...missing(plan.test?.secrets, 'test')];
}
