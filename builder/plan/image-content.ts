import type { BuildPlan, Role } from './plan.ts';
import { roleFile } from './role-file.ts';
import { volumeDirectories } from './volume-directories.ts';

/** The user and group `app` of every base image. */
export const appUser = 10_001;

/** What an image has beside the files of the app and of its base: the Dockerfile printer and the assembler both use this one. */
export interface ImageContent {
  /** Root's own, so that an app cannot change how it is started. In byte order of their paths. */
  readonly files: readonly GeneratedFile[];
  /** Files of the source that are laid to another place, root's own as well. */
  readonly copies: readonly CopiedFile[];
  /** Empty directories of the app's, absolute; one that is there already is not touched. */
  readonly directories: readonly string[];
  readonly config: ConfigChange;
}

export interface GeneratedFile {
  /** Absolute. */
  readonly path: string;
  readonly mode: 0o644 | 0o755;
  readonly uid: 0;
  readonly gid: 0;
  readonly content: string;
}

export interface CopiedFile extends Omit<GeneratedFile, 'content'> {
  /** Path in the source tree. A build whose source lacks it has failed. */
  readonly source: string;
}

/** What changes of the base image's config (OCI image-spec, config.md). */
export interface ConfigChange {
  readonly user: string;
  readonly workingDirectory: string;
  /** On top of the base's environment, by `mergeEnvironment`. */
  readonly environment: Readonly<Record<string, string>>;
  readonly entrypoint: readonly string[];
  /** Undefined = none, the base's does not stay either. */
  readonly command: readonly string[] | undefined;
  /** On top of the base's labels. */
  readonly labels: Readonly<Record<string, string>>;
  /** `8080/tcp`, on top of the base's. */
  readonly exposedPorts: readonly string[];
  /** On top of the base's. */
  readonly volumes: readonly string[];
  /** Undefined = the base's stays. */
  readonly stopSignal: string | undefined;
}

/** Pure: equal plans have equal content, byte for byte. */
export function imageContent(plan: BuildPlan): ImageContent {
  const [first] = plan.roles;
  if (first === undefined) throw new RangeError('a plan has at least one role');
  const common = {
    labels: {
      ...plan.labels,
      'org.brickyard.appname': plan.appname,
      'org.brickyard.roles': rolesLabel(plan.roles),
    },
    exposedPorts: [
      ...new Set(plan.roles.flatMap((role) => role.ports.map((port) => `${port.port}/${port.protocol}`))),
    ],
    volumes: plan.volumes,
    stopSignal: plan.stopSignal,
  };
  const directories = volumeDirectories(plan.volumes);
  const environment = { APP_NAME: plan.appname, HOME: plan.directory, ...plan.environment };
  const user = (role: Role): string => (role.user === 'root' ? '0:0' : `${appUser}:${appUser}`);
  if (!plan.base.launcher) {
    return {
      files: [],
      copies: [],
      directories,
      config: {
        ...common,
        user: user(first),
        workingDirectory: first.workingDirectory,
        environment: { ...environment, ...first.environment },
        entrypoint: first.command,
        command: undefined,
      },
    };
  }
  return {
    files: plan.roles
      .map((role) => ({
        path: `/etc/appimg/roles/${role.name}`,
        mode: 0o644 as const,
        uid: 0 as const,
        gid: 0 as const,
        content: roleFile(role),
      }))
      .toSorted((a, b) => (a.path < b.path ? -1 : 1)),
    copies:
      plan.runtimeScript === undefined
        ? []
        : [{ path: '/etc/appimg/runtime.sh', mode: 0o755, uid: 0, gid: 0, source: plan.runtimeScript }],
    directories,
    config: {
      ...common,
      // The launcher gives up root itself for the roles that do not ask for it.
      user: plan.roles.some((role) => role.user === 'root') ? '0:0' : `${appUser}:${appUser}`,
      workingDirectory: plan.directory,
      environment,
      entrypoint: ['/usr/bin/tini', '--', '/usr/local/bin/launcher'],
      command: [first.name],
    },
  };
}

/** What schedulers may read of the roles, without unpacking the image. */
function rolesLabel(roles: readonly Role[]): string {
  const described = roles.map((role) => [
    role.name,
    {
      ...commandOf(role),
      dir: role.workingDirectory,
      ...(role.ports.length === 0
        ? {}
        : { ports: role.ports.map((port) => `${port.port}/${port.scheme ?? port.protocol}`) }),
      ...(role.healthcheck === undefined ? {} : { healthcheck: role.healthcheck }),
      ...(role.hooks === undefined ? {} : { hooks: role.hooks }),
      ...(Object.keys(role.environment).length === 0 ? {} : { env: Object.keys(role.environment) }),
      user: role.user,
      ...(role.resources === undefined ? {} : { resources: role.resources }),
      ...(role.restart === undefined ? {} : { restart: role.restart }),
      ...(role.stopSignal === undefined ? {} : { stopSignal: role.stopSignal }),
    },
  ]);
  return asciiJson(Object.fromEntries(described));
}

/** Every client that lists images reads their labels: a program as text in the arguments stays in the role's file alone. */
function commandOf({ command }: Role): { command?: readonly string[] } {
  return JSON.stringify(command).length > 2048 ? {} : { command };
}

/** JSON in printable ASCII: on one line everywhere, and the same however it is shown. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[^\x20-\x7E]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The base's variables in their order, new values in the place of old ones, new names at the end: what Docker's ENV does. */
export function mergeEnvironment(
  base: readonly string[],
  changes: Readonly<Record<string, string>>,
): string[] {
  const left = new Map(Object.entries(changes));
  const merged = base.map((entry) => {
    const name = entry.split('=', 1)[0] ?? '';
    const value = left.get(name);
    left.delete(name);
    return value === undefined ? entry : `${name}=${value}`;
  });
  for (const [name, value] of left) merged.push(`${name}=${value}`);
  return merged;
}
