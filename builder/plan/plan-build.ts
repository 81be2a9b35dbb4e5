import { type DocumentFault, hasErrors } from '../../core/document/document.ts';
import type { AppFile, AppFileEntrypoint, AppFileResult } from '../appfile/appfile.ts';
import { roleDirectory } from '../appfile/check-entrypoint.ts';
import { appFileCodes } from '../appfile/codes.ts';
import { missingBaseFault } from '../appfile/missing-base.ts';
import { splitShellWords } from '../appfile/shell-words.ts';
import { parseMemory, parsePort, parseSignal } from '../appfile/values.ts';
import type { Deprecation } from './deprecation.ts';
import { asciiJson } from './image-content.ts';
import type { BuildPlan, BuildStep, PlannedBase, Port, Role } from './plan.ts';
import { checkPlatforms, type Fail, planSteps, resolvePlanned } from './plan-steps.ts';

/** Why there is no such base image, and names that exist and were perhaps meant. */
export interface MissingBase {
  readonly error: string;
  readonly suggestions: readonly string[];
}

/** A base image as the catalog has it. What is beside `PlannedBase` decides whether there is a plan, and is no part of it. */
export interface FoundBase extends PlannedBase {
  readonly deprecation?: Deprecation;
  /** What the image is there for, e.g. `linux/amd64`. Asked where App.yaml names platforms; without it they are not checked. */
  readonly platforms?: () => Promise<readonly string[]>;
}

/** The catalog: name as written in App.yaml → the image it means now. Errors that are nobody's fault in App.yaml are thrown. */
export type ResolveBase = (name: string) => Promise<FoundBase | MissingBase>;

/** Whether an image repository has an image on this base already. */
export type HasImageOn = (repository: string, base: PlannedBase) => Promise<boolean>;

export interface PlanInput {
  readonly appfile: AppFileResult;
  readonly team: string;
  readonly resolveBase: ResolveBase;
  /** Names at the top of the project, from which a base is proposed when App.yaml names none. */
  readonly fileNames?: readonly string[];
  /** Base of files that name none; without it they have an error. */
  readonly defaultBase?: string;
  /** Without it, bases that are closed for new applications are warned of only. */
  readonly hasImageOn?: HasImageOn;
  /** Day for deprecations, `2026-01-31`. Default: that of the clock, in UTC. */
  readonly today?: string;
}

/** `plan` is undefined when there is an error among the faults, which are those of the file and what the plan adds. */
export interface PlanResult {
  readonly plan?: BuildPlan;
  readonly faults: readonly DocumentFault[];
}

/** App.yaml → plan: fills in every default. Pure apart from `resolveBase`. */
export async function planBuild(input: PlanInput): Promise<PlanResult> {
  const { appfile: result, team } = input;
  const file = result.appfile;
  if (file === undefined) return { faults: result.faults };
  const faults: DocumentFault[] = [...result.faults];
  const fail: Fail = (path, code, message, hint, severity = 'error') => {
    faults.push(result.locate(path, { code, message, severity, ...(hint === undefined ? {} : { hint }) }));
    return undefined;
  };
  const baseName = file.base ?? input.defaultBase;
  const missing = baseName === undefined ? missingBaseFault(result, input.fileNames ?? []) : undefined;
  if (missing !== undefined) faults.push(missing);
  const base = baseName === undefined ? undefined : await resolvePlanned(input, baseName, ['base'], fail);
  if (base !== undefined && file.platforms !== undefined)
    await checkPlatforms(input, base, file.platforms, fail);
  const { build, test } = await planSteps({ input, file, baseName, base, fail });
  if (base === undefined || hasErrors(faults)) return { faults };
  const directory = `/home/${file.appname}`;
  const roles = Object.entries(file.entrypoints).map(([name, entrypoint]) =>
    planRole(file, name, entrypoint),
  );
  if (!base.launcher) checkDirect(base, file, roles, fail);
  const stopSignal = file.stop_signal === undefined ? roles[0]?.stopSignal : parseSignal(file.stop_signal);
  const plan: BuildPlan = {
    repository: `${team}/${file.appname}`,
    appname: file.appname,
    base,
    directory,
    source: planSource(file, build),
    ...(build === undefined ? {} : { build }),
    ...(test === undefined ? {} : { test }),
    roles,
    environment: { ...file.envs },
    labels: { ...file.labels, ...deployLabel(file) },
    ...(stopSignal === undefined ? {} : { stopSignal }),
    volumes: (file.volumes ?? []).map((path) => path.replace(/\/+$/, '')),
    ...(file.runtime === undefined ? {} : { runtimeScript: file.runtime }),
    ...(file.static === undefined ? {} : { staticScript: file.static }),
    ...(file.rebase === undefined ? {} : { rebase: file.rebase }),
    ...(file.platforms === undefined ? {} : { platforms: file.platforms }),
  };
  return hasErrors(faults) ? { faults } : { plan, faults };
}

function planSource(file: AppFile, build: BuildStep | undefined): BuildPlan['source'] {
  // With outputs, the source itself stays out unless it is asked for.
  const outputsOnly =
    build !== undefined && Object.keys(build.outputs).length > 0 && file.source === undefined;
  return {
    include: outputsOnly ? [] : (file.source?.include ?? ['**']),
    exclude: file.source?.exclude ?? [],
  };
}

function planRole(file: AppFile, name: string, entrypoint: AppFileEntrypoint): Role {
  const ports = (entrypoint.ports ?? [])
    .map(parsePort)
    .filter((port): port is Port => typeof port !== 'string');
  const healthcheck = planHealthcheck(entrypoint, ports);
  const { hook, resources } = entrypoint;
  const memoryBytes = resources?.memory === undefined ? undefined : parseMemory(resources.memory);
  const stopSignal = entrypoint.stop_signal === undefined ? undefined : parseSignal(entrypoint.stop_signal);
  return {
    name,
    command: planCommand(entrypoint),
    environment: { ...entrypoint.env },
    workingDirectory: roleDirectory(file.appname, entrypoint.dir) ?? `/home/${file.appname}`,
    user: entrypoint.user ?? 'app',
    ports,
    ...(healthcheck === undefined ? {} : { healthcheck }),
    ...(hook === undefined
      ? {}
      : {
          hooks: {
            ...(hook.after_start === undefined ? {} : { afterStart: hook.after_start }),
            ...(hook.before_stop === undefined ? {} : { beforeStop: hook.before_stop }),
          },
        }),
    ...(resources === undefined
      ? {}
      : {
          resources: {
            ...(resources.cpu === undefined ? {} : { cpu: resources.cpu }),
            ...(memoryBytes === undefined ? {} : { memoryBytes }),
          },
        }),
    ...(entrypoint.restart === undefined ? {} : { restart: entrypoint.restart }),
    ...(stopSignal === undefined ? {} : { stopSignal }),
  };
}

function planCommand(entrypoint: AppFileEntrypoint): readonly string[] {
  if (entrypoint.commands !== undefined) return entrypoint.commands;
  if (entrypoint.shell !== undefined) return ['/bin/sh', '-c', entrypoint.shell];
  const split = splitShellWords(entrypoint.cmd ?? '');
  return 'words' in split ? split.words : [];
}

function planHealthcheck(entrypoint: AppFileEntrypoint, ports: readonly Port[]): Role['healthcheck'] {
  const written = entrypoint.healthcheck;
  const tcp = ports.filter((port) => port.protocol === 'tcp').map((port) => port.port);
  if (written === undefined) return tcp.length === 0 ? undefined : { tcpPorts: tcp };
  const port = written.http_port ?? ports[0]?.port;
  return {
    ...(written.url === undefined || port === undefined
      ? {}
      : { port, url: written.url, code: written.code ?? 200 }),
    ...(written.tcp_ports === undefined ? {} : { tcpPorts: written.tcp_ports }),
  };
}

/** What is for the scheduler and not for the image is not lost: it can be read back from a label. */
function deployLabel(file: AppFile): Record<string, string> {
  const deploy = {
    ...file.deploy,
    ...(file.dns === undefined ? {} : { dns: file.dns }),
    ...(file.extra_hosts === undefined ? {} : { extra_hosts: file.extra_hosts }),
    ...(file.notify === undefined ? {} : { notify: file.notify }),
  };
  return Object.keys(deploy).length === 0 ? {} : { 'org.brickyard.deploy': asciiJson(deploy) };
}

/** A base without a shell can start one program, and nothing before it. */
function checkDirect(base: PlannedBase, file: AppFile, roles: readonly Role[], fail: Fail): void {
  const second = roles[1];
  if (second !== undefined) {
    const message = `${base.name} has no launcher: the image can have one entrypoint only`;
    fail(['entrypoints', second.name], appFileCodes.base, message);
  }
  const [first] = roles;
  if (first !== undefined && file.entrypoints[first.name]?.shell !== undefined) {
    const message = `${base.name} has no shell`;
    fail(['entrypoints', first.name, 'shell'], appFileCodes.base, message, 'write cmd or commands');
  }
  if (file.runtime !== undefined) {
    fail(['runtime'], appFileCodes.base, `${base.name} has no launcher to run a script at the start`);
  }
  if (file.static !== undefined) {
    fail(['static'], appFileCodes.base, `${base.name} has no shell to run a script with`);
  }
}
