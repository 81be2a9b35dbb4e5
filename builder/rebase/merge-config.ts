import { isDeepStrictEqual } from 'node:util';
import type { ContainerConfig } from '../../oci/image-config.ts';
import { mergeEnvironment } from '../plan/image-content.ts';

/** On every image that a build here made: it set user, entrypoint and directory itself, even where its base had the same. */
const builtHere = 'org.brickyard.appname';

/**
 * Three-way merge of how an image is started: what the app did not change of its old base follows the new one. Where an app was built
 * here the result is what a build on the new base would give.
 */
export function mergeConfig(
  oldBase: ContainerConfig,
  app: ContainerConfig,
  newBase: ContainerConfig,
): ContainerConfig {
  const own = app.Labels?.[builtHere] !== undefined;
  const choose = <K extends keyof ContainerConfig>(name: K): ContainerConfig[K] =>
    isDeepStrictEqual(app[name], oldBase[name]) ? newBase[name] : app[name];
  // Taking a user from the new base because the old one's happened to be the same could make an app root.
  const chooseStart = <K extends keyof ContainerConfig>(name: K): ContainerConfig[K] =>
    own ? app[name] : choose(name);
  const entrypoint = chooseStart('Entrypoint');
  const ownEntrypoint = own || !isDeepStrictEqual(app.Entrypoint, oldBase.Entrypoint);
  return withoutUndefined({
    User: chooseStart('User'),
    ExposedPorts: mergeMap(oldBase.ExposedPorts, app.ExposedPorts, newBase.ExposedPorts),
    Env: mergeVariables(oldBase.Env, app.Env, newBase.Env),
    Entrypoint: entrypoint,
    // Arguments belong to the entrypoint: another one's would start something that nobody meant.
    Cmd: ownEntrypoint ? app.Cmd : choose('Cmd'),
    Volumes: mergeMap(oldBase.Volumes, app.Volumes, newBase.Volumes),
    WorkingDir: chooseStart('WorkingDir'),
    Labels: mergeMap(oldBase.Labels, app.Labels, newBase.Labels),
    StopSignal: choose('StopSignal'),
  });
}

/** In the new base's order, with the app's own changes and additions as a build lays them over it. */
function mergeVariables(
  oldBase: readonly string[] = [],
  app: readonly string[] | undefined,
  newBase: readonly string[] = [],
): string[] | undefined {
  const before = variables(oldBase);
  const now = variables(app ?? []);
  const changes = [...now].filter(([name, value]) => before.get(name) !== value);
  const removed = new Set([...before.keys()].filter((name) => !now.has(name)));
  const kept = newBase.filter((entry) => !removed.has(nameOf(entry)));
  const merged = mergeEnvironment(kept, Object.fromEntries(changes));
  return merged.length === 0 && app === undefined ? undefined : merged;
}

function variables(entries: readonly string[]): Map<string, string> {
  return new Map(entries.map((entry) => [nameOf(entry), entry.slice(nameOf(entry).length + 1)]));
}

function nameOf(entry: string): string {
  return entry.split('=', 1)[0] ?? '';
}

/** Name by name: what the app added, changed or removed stays so. */
export function mergeMap<T>(
  oldBase: Readonly<Record<string, T>> = {},
  app: Readonly<Record<string, T>> = {},
  newBase: Readonly<Record<string, T>> = {},
): Record<string, T> | undefined {
  const merged = new Map(Object.entries(newBase));
  for (const name of Object.keys(oldBase)) if (!Object.hasOwn(app, name)) merged.delete(name);
  for (const [name, value] of Object.entries(app)) {
    const same = Object.hasOwn(oldBase, name) && isDeepStrictEqual(oldBase[name], value);
    if (!same) merged.set(name, value);
  }
  return merged.size === 0 ? undefined : Object.fromEntries(merged);
}

function withoutUndefined(
  config: { [K in keyof ContainerConfig]: ContainerConfig[K] | undefined },
): ContainerConfig {
  return Object.fromEntries(
    Object.entries(config).filter(([, value]) => value !== undefined),
  ) as ContainerConfig;
}
