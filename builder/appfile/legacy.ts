import type { DocumentFault, SourceDocument } from '../../core/document/document.ts';
import { appFileCodes } from './codes.ts';

/** Keys of the formats that Eru and Citadel read (2015 to now), and what says the same in v1: for files that say they are v1. */
const legacyTop: Readonly<Record<string, string>> = {
  stages: 'write the last stage as base and source, the one before it as build',
  builds: 'write the last stage as base and source, the one before it as build',
  complex_build: 'write the last stage as base and source, the one before it as build',
  binds: 'write volumes: [/path/in/container]',
  mount_paths: 'write volumes: [/path/in/container]',
  permdir: 'write volumes: [/path/in/container]',
  volumes_request: 'write volumes: [/path/in/container]',
  meta: 'write labels',
  hosts: 'write extra_hosts',
  subscribers: 'write notify',
  version: 'leave it out: images are tagged by branch and commit',
  name: 'write appname',
  container_user: 'write user: root or leave it out',
  port: 'write ports of an entrypoint',
  commands: 'write entrypoints',
  combos: 'write it under deploy',
  permitted_users: 'leave it out: rights are the server’s business',
  erection_timeout: 'write it under deploy',
  freeze_node: 'write it under deploy',
  smooth_upgrade: 'write it under deploy',
  crontab: 'write it under deploy',
};

const legacyEntrypoint: Readonly<Record<string, string>> = {
  mem_limit: 'write resources: { memory: 512MB }',
  health_check: 'write healthcheck: { http_port: 8080, url: /path }',
  healthcheck_port: 'write healthcheck: { http_port: 8080, url: /path }',
  healthcheck_url: 'write healthcheck: { http_port: 8080, url: /path }',
  healthcheck_expected_code: 'write healthcheck: { code: 200 }',
  publish: 'write ports',
  exposes: 'write ports',
  privileged: 'write user: root',
  permdir: 'write volumes at the top of the file',
  after_start: 'write hook: { after_start: [...] }',
  before_stop: 'write hook: { before_stop: [...] }',
  working_dir: 'write dir',
  hosts: 'write extra_hosts at the top of the file',
  network_mode: 'write it under deploy',
  network_route: 'write it under deploy',
  log: 'write it under deploy',
  log_config: 'write it under deploy',
  sysctls: 'leave it out: sysctls are the scheduler’s business',
  image: 'leave it out: all roles share the image',
  backup_path: 'write it under deploy',
  run_and_wait_timeout: 'write it under deploy',
};

/** Keys of v1 that this version does not carry out: silently ignoring a secret would be worse than refusing the file. */
const unsupportedBuild: Readonly<Record<string, string>> = {};

/** Faults for known keys that cannot be built; the schema calls each of them an unknown key, which these replace. */
export function checkLegacy(document: SourceDocument): DocumentFault[] {
  const faults: DocumentFault[] = [];
  const top = document.value;
  if (!isMap(top)) return faults;
  const visit = (
    map: Record<string, unknown>,
    path: readonly string[],
    table: Readonly<Record<string, string>>,
    code: string,
    say: (key: string) => string,
  ): void => {
    for (const key of Object.keys(map)) {
      const falcon = path.length === 0 && key.startsWith('falcon-') && table === legacyTop;
      if (!falcon && !Object.hasOwn(table, key)) continue;
      const hint = falcon ? 'write it under deploy' : (table[key] ?? '');
      faults.push(document.fault([...path, key], { code, message: say(key), hint, at: 'key' }));
    }
  };
  const legacy = (key: string): string =>
    `"${key}" is of an old Eru format, and apiVersion says that this file is not`;
  const unsupported = (key: string): string => `"${key}" is not supported by this version`;
  visit(top, [], legacyTop, appFileCodes.legacy, legacy);
  const build = top['build'];
  if (isMap(build)) visit(build, ['build'], unsupportedBuild, appFileCodes.unsupportedKey, unsupported);
  const entrypoints = top['entrypoints'];
  if (isMap(entrypoints)) {
    for (const [name, entrypoint] of Object.entries(entrypoints)) {
      if (!isMap(entrypoint)) continue;
      visit(entrypoint, ['entrypoints', name], legacyEntrypoint, appFileCodes.legacy, legacy);
    }
  }
  return faults;
}

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
