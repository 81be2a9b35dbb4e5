import { type Command, Option } from 'commander';
import { explainPlan } from '../../builder/plan/explain-plan.ts';
import type { BuildPlan, PlannedBase } from '../../builder/plan/plan.ts';
import { planBuild, type ResolveBase } from '../../builder/plan/plan-build.ts';
import { planKey } from '../../builder/plan/plan-key.ts';
import { printDockerfile } from '../../builder/plan/print-dockerfile.ts';
import { formatFaults } from '../../core/document/format-faults.ts';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';
import { defaultBaseOf, defaultBaseOption, readAppFileInput } from './appfile-input.ts';

export interface ExplainDeps {
  /** The catalog to resolve base images with, as the options say: a server's or the own store's. */
  readonly openBases: (options: { server?: string }) => Promise<{
    readonly resolveBase: ResolveBase;
    /** `host/repository` that a container engine pulls the base from, without its digest. */
    readonly pullAddress: (base: PlannedBase) => string;
    close(): Promise<void>;
  }>;
}

interface ExplainOptions {
  readonly team: string;
  readonly format: 'text' | 'dockerfile' | 'json';
  readonly json?: boolean;
  readonly server?: string;
  readonly defaultBase?: string;
}

/** `explain [FILE|DIR]`: what a build would do: the plan, the Dockerfile that makes the same image, and the cache keys. */
export function registerExplain(program: Command, context: CliContext, deps: ExplainDeps): void {
  program
    .command('explain [path]')
    .description('show the plan, the Dockerfile and the cache keys of an App.yaml')
    .option('--team <team>', 'team that the image belongs to', 'team')
    .option('--server <url>', 'server whose base images count (or BRICKYARD_SERVER)')
    .addOption(
      new Option('--format <format>', 'what to print')
        .choices(['text', 'dockerfile', 'json'])
        .default('text'),
    )
    .option('--json', 'same as --format json')
    .addOption(defaultBaseOption())
    .action(async (path: string | undefined, options: ExplainOptions) => {
      const { result, names } = readAppFileInput(context, path);
      const defaultBase = defaultBaseOf(context, options);
      const bases = await deps.openBases(options.server === undefined ? {} : { server: options.server });
      try {
        const { plan, faults } = await planBuild({
          appfile: result,
          team: options.team,
          resolveBase: bases.resolveBase,
          fileNames: names,
          ...(defaultBase === undefined ? {} : { defaultBase }),
        });
        context.stderr(formatFaults(faults, result.document));
        if (plan === undefined) throw new UserError(`${result.document.file}: there is no plan`);
        const baseReference = (base: PlannedBase): string => `${bases.pullAddress(base)}@${base.digest}`;
        context.stdout(explanation(plan, printDockerfile(plan, { baseReference }), options));
      } finally {
        await bases.close();
      }
    });
}

function explanation(plan: BuildPlan, dockerfile: string, options: ExplainOptions): string {
  const format = options.json === true ? 'json' : options.format;
  if (format === 'json')
    return `${JSON.stringify({ plan, dockerfile, planKey: planKey(plan) }, undefined, 2)}\n`;
  if (format === 'dockerfile') return dockerfile;
  return `${explainPlan(plan)}\n${dockerfile}`;
}
