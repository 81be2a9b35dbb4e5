import { type DocumentFault, hasErrors } from '../../core/document/document.ts';
import { formatFaults } from '../../core/document/format-faults.ts';
import { JobFailed } from '../../core/queue/job-queue.ts';
import type { AppFileResult } from '../appfile/appfile.ts';
import { type AppFileParser, readAppFile } from '../appfile/parse-appfile.ts';
import type { BuildPlan } from '../plan/plan.ts';
import { type HasImageOn, planBuild, type ResolveBase } from '../plan/plan-build.ts';
import { lintScripts, type ScriptSource } from '../plan/runtime-script.ts';
import { maxIgnoreFileBytes, pathText } from '../plan/select-source.ts';
import { sourceFaults } from '../plan/source-faults.ts';
import type { SourceEntry, SourceTree } from '../plan/source-tree.ts';
import type { SecretStore } from '../secrets/secret-store.ts';
import type { BuildRequest } from './build-request.ts';
import { missingSecrets } from './missing-secrets.ts';
import { describePlan, formatStep } from './report.ts';

/** Reads a commit's App.yaml and makes the plan, telling of every fault. Errors: JobFailed when there is no plan to be had. */
export type CommitPlanner = (input: {
  /** `app` stands in for a missing appname. */
  request: Pick<BuildRequest, 'team' | 'app' | 'package' | 'trusted'>;
  /** Git repository whose secrets the commands may use, `team/app`; without it names of secrets are not looked up. */
  owner?: string;
  source: SourceTree;
  /** Of `source` in its repository, '' for the top; for messages. */
  directory?: string;
  write: (line: string) => void;
}) => Promise<{ plan: BuildPlan }>;

export function createCommitPlanner(deps: {
  parseAppFile: AppFileParser;
  resolveBase: ResolveBase;
  /** Base of an App.yaml that names none. */
  defaultBase?: string;
  hasImageOn?: HasImageOn;
  /** Without it, names of secrets are not looked up. */
  secrets?: Pick<SecretStore, 'versions'>;
  /** What to tell a pusher without App.yaml, with the one that `brickyard init` would write. */
  propose: (input: { app: string; source: SourceTree; fileNames: readonly string[] }) => Promise<string>;
}): CommitPlanner {
  return async ({ request, owner, source, directory = '', write }) => {
    const summary = (file: string, faults: readonly DocumentFault[]): string =>
      `${file}: ${count(faults, 'error', 'error').join(', ')}; ${
        request.package === undefined
          ? 'the push is kept, mend the file and push again'
          : 'mend the file and send the package again'
      }`;
    const started = performance.now();
    const entries = await source.entries();
    const paths = entries.map(({ path }) => path);
    const fileNames = [...new Set(paths.map((path) => path.split('/', 1)[0] ?? ''))];
    const parsed = await readAppFile(source, deps.parseAppFile, {
      defaultAppName: request.app,
      shownIn: directory === '' ? '' : `${directory}/`,
    });
    if (parsed === undefined) {
      const proposal = await deps.propose({ app: request.app, source, fileNames });
      for (const line of proposal.trimEnd().split('\n')) write(`  ${line}`);
      throw new JobFailed('no App.yaml: add one, commit and push again');
    }
    const name = parsed.document.file;
    report(parsed, parsed.faults, write);
    if (parsed.appfile === undefined) throw new JobFailed(summary(name, parsed.faults));
    const scripts = await lintScripts(parsed, scriptsOf(source, entries));
    for (const { faults, document } of scripts) write(formatFaults(faults, document).trimEnd());
    const broken = scripts.find(({ faults }) => hasErrors(faults));
    if (broken !== undefined) throw new JobFailed(summary(broken.document.file, broken.faults));
    const odd = await faultsOfSource(parsed, source, entries);
    report(parsed, odd, write);
    if (odd.length > 0) throw new JobFailed(summary(name, odd));
    write(formatStep('lint', lintDetail(name, parsed.faults), performance.now() - started));
    const planning = performance.now();
    const planned = await planBuild({
      appfile: parsed,
      team: request.team,
      resolveBase: deps.resolveBase,
      fileNames,
      ...(deps.defaultBase === undefined ? {} : { defaultBase: deps.defaultBase }),
      ...(deps.hasImageOn === undefined ? {} : { hasImageOn: deps.hasImageOn }),
    });
    const seen = new Set(parsed.faults);
    report(
      parsed,
      planned.faults.filter((fault) => !seen.has(fault)),
      write,
    );
    if (planned.plan === undefined || hasErrors(planned.faults))
      throw new JobFailed(summary(name, planned.faults));
    if (deps.secrets !== undefined && owner !== undefined && request.trusted !== false) {
      const missing = await missingSecrets(deps.secrets, { owner, plan: planned.plan, parsed });
      report(parsed, missing, write);
      if (missing.length > 0) throw new JobFailed(summary(name, missing));
    }
    write(formatStep('plan', describePlan(planned.plan), performance.now() - planning));
    return { plan: planned.plan };
  };
}

function scriptsOf(source: SourceTree, entries: readonly SourceEntry[]): ScriptSource {
  return {
    readFile: (path, limit) => source.readFile(path, limit),
    isExecutable: (path) =>
      Promise.resolve(entries.some((entry) => entry.path === path && entry.kind === 'executable')),
  };
}

/** Git LFS pointers are found when their files are read: only then is their content known. */
async function faultsOfSource(
  parsed: AppFileResult,
  source: SourceTree,
  entries: readonly SourceEntry[],
): Promise<readonly DocumentFault[]> {
  const submodules = entries.filter(({ kind }) => kind === 'submodule').map(({ path }) => pathText(path));
  if (submodules.length === 0) return [];
  const dockerignore = await source.readFile('.dockerignore', maxIgnoreFileBytes);
  return sourceFaults(parsed, { submodules, pointers: [] }, dockerignore?.toString());
}

function report(
  parsed: AppFileResult,
  faults: readonly DocumentFault[],
  write: (line: string) => void,
): void {
  if (faults.length > 0) write(formatFaults(faults, parsed.document).trimEnd());
}

function count(
  faults: readonly DocumentFault[],
  severity: DocumentFault['severity'],
  word: string,
): string[] {
  const number = faults.filter((fault) => fault.severity === severity).length;
  return number === 0 ? [] : [`${number} ${word}${number === 1 ? '' : 's'}`];
}

function lintDetail(name: string, faults: readonly DocumentFault[]): string {
  const found = count(faults, 'warning', 'warning');
  return found.length === 0 ? `${name} is fine` : `${name}: ${found.join(', ')}`;
}
