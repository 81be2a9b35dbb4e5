import { isMap } from '../legacy.ts';

/**
 * The formats of Eru before App.yaml v1: E1 is eru-core (2015), E2 the first projecteru2/core and Citadel (2016), E2b its
 * `complex_build` (2017), E3 `stages` and `builds` (2017 to now).
 */
export type EruFormat = 'E1' | 'E2' | 'E2b' | 'E3';

const top: Readonly<Record<string, readonly string[]>> = {
  E2b: ['complex_build'],
  E3: ['stages', 'builds', 'volumes_request', 'container_user', 'name'],
  E2: [
    'combos',
    'permitted_users',
    'subscribers',
    'erection_timeout',
    'freeze_node',
    'smooth_upgrade',
    'crontab',
    'mount_paths',
  ],
  E1: ['binds', 'meta', 'version', 'hosts', 'permdir', 'port', 'commands'],
};

const role: Readonly<Record<string, readonly string[]>> = {
  E3: ['publish', 'sysctls', 'log'],
  E2: [
    'after_start',
    'before_stop',
    'healthcheck_port',
    'healthcheck_url',
    'healthcheck_expected_code',
    'log_config',
    'working_dir',
    'image',
    'run_and_wait_timeout',
    'backup_path',
  ],
  E1: [
    'health_check',
    'exposes',
    'mem_limit',
    'privileged',
    'permdir',
    'network_mode',
    'network_route',
    'hosts',
  ],
};

/** Keys inside of a role's `healthcheck` and `hook`. */
const inner: Readonly<Record<string, readonly string[]>> = {
  healthcheck: ['http_url', 'http_code'],
  hook: ['after_resume', 'before_suspend', 'force'],
};

/**
 * `v1` when the file says so by any `apiVersion`, or holds no key or form of an older format; else the newest format that one
 * of its keys or forms belongs to. A file of E1 with a `base` is E2, where that key came in.
 */
export function detectFormat(value: unknown): 'v1' | EruFormat {
  if (!isMap(value) || Object.hasOwn(value, 'apiVersion')) return 'v1';
  const file = value;
  const entrypoints = isMap(file['entrypoints']) ? Object.values(file['entrypoints']).filter(isMap) : [];
  const has = (format: EruFormat): boolean =>
    (top[format] ?? []).some((key) => Object.hasOwn(file, key)) ||
    entrypoints.some((entrypoint) => (role[format] ?? []).some((key) => Object.hasOwn(entrypoint, key)));
  if (has('E2b')) return 'E2b';
  if (has('E3') || entrypoints.some(hasInnerKey)) return 'E3';
  const volumes: readonly unknown[] = Array.isArray(file['volumes']) ? file['volumes'] : [];
  const hostVolume = volumes.some((volume) => typeof volume === 'string' && /^[^:]+:[^:]/.test(volume));
  if (has('E2') || (hostVolume && !has('E1'))) return 'E2';
  const falcon = Object.keys(file).some((key) => key.startsWith('falcon-'));
  if (!has('E1') && !falcon) return 'v1';
  return Object.hasOwn(file, 'base') ? 'E2' : 'E1';
}

function hasInnerKey(entrypoint: Record<string, unknown>): boolean {
  return Object.entries(inner).some(([key, names]) => {
    const map = entrypoint[key];
    return isMap(map) && names.some((name) => Object.hasOwn(map, name));
  });
}
