import type { Static } from 'typebox';
import { parseEgressHost } from '../builder/egress/egress-policy.ts';
import { type EgressSettings, egressSettings } from '../builder/engines/docker/egress.ts';
import { type SandboxLimits, sandboxLimits } from '../builder/engines/docker/sandbox-limits.ts';
import type { DockerEngineOptions } from '../builder/engines/docker.ts';
import type { DeepReadonly } from '../core/config/load-config.ts';
import type { ValueFault } from '../core/config/settings.ts';
import { Type } from '../core/type.ts';
import { fault } from './config-checks.ts';

const bytes = (
  name: Exclude<keyof SandboxLimits, 'outputs' | 'artifacts'>,
  minimum: number,
  description: string,
) => Type.Integer({ default: sandboxLimits[name], minimum, description });

const mirror = (description: string) => Type.Optional(Type.String({ description, 'x-check': checkMirror }));

/** What `build:`, `test:` and `static:` of App.yaml may use; the part `builder.sandbox` of `brickyard.yaml`. See docs/sandbox.md. */
export const sandboxSchema = Type.Object({
  memory: bytes('memory', 16 * 1024 ** 2, 'Bytes of memory of one build, /tmp included; there is no swap.'),
  cpus: Type.Number({
    default: sandboxLimits.cpus,
    minimum: 0.1,
    maximum: 1024,
    description: 'Processor cores that one build may use.',
  }),
  processes: Type.Integer({
    default: sandboxLimits.processes,
    minimum: 8,
    maximum: 4_194_304,
    description: 'Processes and threads of one build.',
  }),
  disk: bytes('disk', 1024 ** 2, 'Bytes on disk of one build: its workspace and $HOME.'),
  files: Type.Integer({
    default: sandboxLimits.files,
    minimum: 100,
    description: 'Files and directories of one build.',
  }),
  fileSize: bytes('fileSize', 1024 ** 2, 'Bytes of one file.'),
  tmp: bytes('tmp', 1024 ** 2, 'Bytes of /tmp, which is memory.'),
  output: bytes('output', 1024, 'Bytes that a step may print; one that prints more is stopped.'),
  timeout: Type.Integer({
    default: sandboxLimits.timeout,
    minimum: 1,
    maximum: 604_800,
    description: 'Seconds that no step takes longer than, whatever `timeout` of App.yaml says.',
  }),
  diskReserve: bytes(
    'diskReserve',
    0,
    'Bytes that stay free on the container engine’s disk; below, running builds end and are tried again.',
  ),
  runtime: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        'Runtime of build containers as the container engine knows it, such as `runsc` (gVisor) or `kata`; default: the engine’s own.',
      'x-check': (value: string) =>
        /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(value)
          ? []
          : fault('must be the name of a runtime that the container engine knows, e.g. runsc'),
    }),
  ),
  /** What their network reaches. */
  egress: Type.Object({
    allow: Type.Array(Type.String({ minLength: 1 }), {
      default: [],
      description:
        'Hosts that builds reach also with `network: proxy`, in a private network, or on another port: `host`, `host:port`, `*.domain`.',
      'x-check': (value: string[]) =>
        value.flatMap((entry, index) =>
          parseEgressHost(entry) === undefined
            ? [{ path: [index], message: `"${entry}" must be host, host:port, *.domain or an address` }]
            : [],
        ),
    }),
    bytes: Type.Integer({
      default: egressSettings.bytes,
      minimum: 1024,
      description: 'Bytes that one step may move over the network, in both directions together.',
    }),
  }),
  /** A company's own package registries; reached in every mode but `none`. */
  mirrors: Type.Object({
    npm: mirror('npm registry for builds, such as `https://nexus.example.com/repository/npm/`.'),
    pypi: mirror('PyPI index for builds, such as `https://nexus.example.com/repository/pypi/simple`.'),
    maven: mirror('Stands in for Maven Central in builds.'),
    go: mirror('Go module proxy for builds.'),
  }),
});

export type SandboxConfig = DeepReadonly<Static<typeof sandboxSchema>>;

/** What `createDockerEngine` takes of it. */
export function sandboxOptions(
  config: SandboxConfig,
): Pick<DockerEngineOptions, 'limits' | 'runtime'> & { readonly egress: EgressSettings } {
  const { runtime, egress, mirrors, ...limits } = config;
  return { limits, egress: { ...egress, mirrors }, ...(runtime === undefined ? {} : { runtime }) };
}

function checkMirror(value: string): ValueFault[] {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    return fault('must be an address such as https://nexus.example.com/repository/npm/');
  }
  // It stands in files that the commands of every build can read.
  if (url.username !== '' || url.password !== '') return fault('must hold no user name or password');
  if (/^(?:localhost|127\..*|\[::1\])$/i.test(url.hostname)) {
    return fault(
      'must not lie on loopback, as builds have one of their own; write an address of the network',
    );
  }
  return /[\s"'<>&\\]/.test(value) ? fault('must hold no white space, quotes, <, >, & or \\') : [];
}
