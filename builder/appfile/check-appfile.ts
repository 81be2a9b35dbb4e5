import {
  type DocumentFault,
  type DocumentPath,
  formatDocumentPath,
  type SourceDocument,
} from '../../core/document/document.ts';
import { isRepositoryName } from '../../oci/reference.ts';
import { compileGlob } from '../plan/glob.ts';
import { systemPathFault } from '../plan/system-path.ts';
import type { AppFile, AppFileBuild } from './appfile.ts';
import { checkEntrypoint } from './check-entrypoint.ts';
import { checkBase, checkEnvironment, checkSignal, hasDots, type Report } from './check-value.ts';
import { appFileCodes } from './codes.ts';
import { isMap } from './legacy.ts';
import { isReservedAppName } from './names.ts';
import { parseSeconds } from './values.ts';

const maxDeployCharacters = 32 * 1024;

/** What the schema cannot say. Runs although the schema found faults, so that all come at once: it must survive any value. */
export function checkAppFile(
  document: SourceDocument,
  file: AppFile,
  known: ReadonlySet<string>,
): DocumentFault[] {
  const faults: DocumentFault[] = [];
  const report: Report = (path, fault) => {
    if (!known.has(formatDocumentPath(path))) faults.push(document.fault(path, fault));
  };
  checkName(file.appname, report);
  checkBase(['base'], file.base, report);
  checkSource(file.source, report);
  checkBuild(file, report);
  checkTest(file.test, report);
  checkEnvironment(['envs'], file.envs, report);
  if (isMap(file.labels)) {
    for (const key of Object.keys(file.labels)) {
      if (!key.startsWith('org.brickyard.')) continue;
      report(['labels', key], {
        code: appFileCodes.value,
        message: 'labels that begin with "org.brickyard." are set by the build',
        at: 'key',
      });
    }
  }
  if (Array.isArray(file.volumes)) {
    for (const [index, path] of (file.volumes as unknown[]).entries()) {
      if (typeof path !== 'string') continue;
      const system = /^\/(?:proc|sys|dev|etc|usr|bin|sbin|lib|lib64|boot)(?:\/|$)/.test(path);
      if (system || hasDots(path)) {
        const message = hasDots(path)
          ? 'the path holds "." or ".."'
          : 'the system’s own directories cannot be volumes';
        report(['volumes', index], { code: appFileCodes.path, message });
      }
    }
  }
  checkSignal(['stop_signal'], file.stop_signal, report);
  if (isMap(file.deploy) && JSON.stringify(file.deploy).length > maxDeployCharacters) {
    // Every client that lists images reads their configs, and labels are in there.
    const message = `has more than ${maxDeployCharacters} characters as JSON`;
    report(['deploy'], { code: appFileCodes.value, message, at: 'key' });
  }
  for (const key of ['runtime', 'static'] as const) {
    const script: unknown = file[key];
    if (typeof script !== 'string' || !hasDots(script)) continue;
    report([key], { code: appFileCodes.path, message: 'the path holds "." or ".."' });
  }
  if (isMap(file.entrypoints)) {
    for (const [name, entrypoint] of Object.entries(file.entrypoints)) {
      if (isMap(entrypoint)) checkEntrypoint(file, name, entrypoint, report);
    }
  }
  return faults;
}

function checkName(name: unknown, report: Report): void {
  if (typeof name !== 'string') return;
  if (isReservedAppName(name)) {
    report(['appname'], {
      code: appFileCodes.appName,
      message: `the name "${name}" is reserved`,
      hint: `try "${name}-app"`,
    });
  } else if (
    !/^[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*$/.test(name) ||
    name.length > 32 ||
    !isRepositoryName(name)
  ) {
    report(['appname'], {
      code: appFileCodes.appName,
      message:
        'the name of the application has lower-case letters and digits with single "-" between them, begins with a letter and has at most 32 characters',
      hint: 'write appname',
    });
  } else if (name.includes('_')) {
    report(['appname'], {
      code: appFileCodes.advice,
      message: "'_' in the name of an application is accepted for old ones only",
      hint: `try "${name.replaceAll('_', '-')}"`,
      severity: 'warning',
    });
  }
}

function checkSource(source: unknown, report: Report): void {
  if (!isMap(source)) return;
  for (const key of ['include', 'exclude']) {
    const patterns = source[key];
    if (Array.isArray(patterns)) {
      for (const [index, pattern] of (patterns as unknown[]).entries()) {
        if (typeof pattern === 'string') checkGlob(['source', key, index], pattern, report);
      }
    }
  }
}

function checkGlob(path: DocumentPath, pattern: string, report: Report, at?: 'key'): void {
  const place = at === undefined ? {} : { at };
  if (pattern.split('/').includes('..')) {
    report(path, { code: appFileCodes.path, message: '".." would leave the source', ...place });
    return;
  }
  try {
    compileGlob(pattern);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    report(path, { code: appFileCodes.path, message: error.message, ...place });
  }
}

function checkBuild(file: AppFile, report: Report): void {
  if (!isMap(file.build)) return;
  const build = file.build as unknown as AppFileBuild;
  checkBase(['build', 'base'], build.base, report);
  checkTimeout(['build'], file.build, report);
  checkEnvironment(['build', 'envs'], build.envs, report);
  if (Array.isArray(build.cache)) {
    for (const [index, path] of (build.cache as unknown[]).entries()) {
      if (typeof path !== 'string' || !hasDots(path)) continue;
      report(['build', 'cache', index], { code: appFileCodes.path, message: 'the path holds "." or ".."' });
    }
  }
  if (!isMap(build.outputs)) return;
  const home = `/home/${file.appname ?? '<appname>'}`;
  for (const [pattern, target] of Object.entries(build.outputs)) {
    const path = ['build', 'outputs', pattern];
    checkGlob(path, pattern, report, 'key');
    checkWildcards(path, pattern, target, report);
    if (typeof target !== 'string') continue;
    if (hasDots(target)) report(path, { code: appFileCodes.path, message: 'the path holds "." or ".."' });
    else if (target.replace(/\/$/, '') !== home && !target.startsWith(`${home}/`)) {
      checkOutside(file, path, target, report);
    }
  }
}

/** An output that is no part of the application's own directory. */
function checkOutside(file: AppFile, path: DocumentPath, target: string, report: Report): void {
  const home = `/home/${file.appname ?? '<appname>'}`;
  const code = appFileCodes.path;
  if (file.rebase !== 'never') {
    const message = `outputs go under ${home}, the application’s own directory`;
    const instead = `write "${home}/${target.split('/').pop() ?? ''}"`;
    report(path, {
      code,
      message,
      hint: `${instead}, or rebase: never for an image that may hold it elsewhere`,
    });
    return;
  }
  const fault = systemPathFault(target);
  if (fault !== undefined) report(path, { code, ...fault });
  else if (file.static !== undefined) {
    report(path, { code, message: `a static script sees ${home} alone; this output lies elsewhere` });
  }
}

function checkTest(test: unknown, report: Report): void {
  if (!isMap(test)) return;
  checkTimeout(['test'], test, report);
  const { artifacts } = test;
  if (!Array.isArray(artifacts)) return;
  for (const [index, pattern] of (artifacts as unknown[]).entries()) {
    if (typeof pattern === 'string') checkGlob(['test', 'artifacts', index], pattern, report);
  }
}

function checkTimeout(path: readonly string[], step: Record<string, unknown>, report: Report): void {
  const { timeout } = step;
  if (typeof timeout === 'string' && parseSeconds(timeout) > 6 * 3600) {
    report([...path, 'timeout'], { code: appFileCodes.value, message: 'must be at most 6h' });
  }
}

/** A Dockerfile's COPY knows wildcards in one part of a path, and drops the directories it matched; so do we. */
function checkWildcards(path: DocumentPath, pattern: string, target: unknown, report: Report): void {
  if (!/[*?]/.test(pattern) || /^(?:[^*?]+\/)?\*\*$/.test(pattern)) return;
  const parent = pattern.slice(0, pattern.lastIndexOf('/') + 1);
  if (/[*?]/.test(parent) || pattern.includes('**')) {
    const message = 'wildcards of an output stand in its last part only, and "**" as the whole last part';
    report(path, { code: appFileCodes.path, message, at: 'key' });
  } else if (typeof target === 'string' && !target.endsWith('/')) {
    const message = 'several files need a directory to go to';
    report(path, { code: appFileCodes.path, message, hint: `write "${target}/"` });
  }
}
