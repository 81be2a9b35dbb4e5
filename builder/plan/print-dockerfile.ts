import { posix } from 'node:path';
import { parseImageReference } from '../../oci/reference.ts';
import { appUser, imageContent } from './image-content.ts';
import { type LayerPart, layerParts } from './layer-part.ts';
import type { BuildPlan, PlannedBase, SourceSelection } from './plan.ts';
import { contentSelection, imageSelection, workspaceSelection } from './select-source.ts';

export interface DockerfileOptions {
  /** Where an engine pulls a base from: a reference that ends in its digest, `registry.example.org/baseimages/nodejs@sha256:…`. */
  readonly baseReference: (base: PlannedBase) => string;
  /** The build commands were run already, and what they made lies in `outputs/` of the context. Default: false. */
  readonly built?: boolean;
}

/**
 * The plan as a Dockerfile over the context that `dockerfileContext` describes. No value can add an instruction: commands and
 * paths stand in JSON form, values are quoted and hold no line ends, names were checked. Errors: RangeError for a plan or a
 * reference that broke these rules on its way here. Secrets are named and never there; they need BuildKit (`docker build --secret id=NAME,src=FILE`).
 */
export function printDockerfile(plan: BuildPlan, options: DockerfileOptions): string {
  const content = imageContent(plan);
  const { config } = content;
  const owner = `--chown=${appUser}:${appUser}`;
  const home = `${plan.directory}/`;
  // A fixed comment first: parser directives (# syntax=, # escape=) count only before anything else.
  const lines = ['# Made by brickyard from App.yaml. Change App.yaml, not this file.'];
  const build = options.built === true ? undefined : plan.build;
  if (build !== undefined) {
    lines.push(`FROM ${from(build.base, options)} AS build`);
    lines.push('USER 0:0', `COPY ${owner} ${json(['workspace/', home])}`);
    lines.push(`USER ${appUser}:${appUser}`, 'ENV HOME="/tmp"', `WORKDIR ${bare(plan.directory)}`);
    for (const [name, value] of Object.entries(build.environment ?? {}))
      lines.push(`ENV ${key(name)}=${quoted(value)}`);
    const mounts = (build.secrets ?? []).map(
      (name) => `--mount=type=secret,id=${bare(name)},uid=${appUser},gid=${appUser},mode=0400,required=true `,
    );
    for (const command of build.commands)
      lines.push(`RUN ${mounts.join('')}${json(['/bin/sh', '-ec', command])}`);
    lines.push('');
  }
  const { staticScript } = plan;
  const runsScript = staticScript !== undefined && options.built !== true;
  lines.push(`FROM ${from(plan.base, options)}${runsScript ? ' AS content' : ''}`);
  // Base images name their own user, and only root may lay files down.
  lines.push('USER 0:0');
  // One layer for each part, as the assembler makes them, but for what a stage made: COPY knows no such rule.
  for (const part of sourceParts(plan, options)) lines.push(`COPY ${owner} ${json([`${part}/`, home])}`);
  if (build !== undefined) {
    for (const [source, target] of workspaceCopies(plan)) {
      const own = target.startsWith(home) || target === plan.directory ? owner : '--chown=0:0';
      lines.push(`COPY --from=build ${own} ${json([source, target])}`);
    }
  } else if (plan.build !== undefined || (staticScript !== undefined && !runsScript)) {
    for (const part of layerParts) lines.push(`COPY ${owner} ${json([`outputs/${part}/`, home])}`);
  }
  if (runsScript) {
    lines.push(`COPY --chown=0:0 ${json(['static/', '/home/.static/'])}`);
    for (const [name, value] of Object.entries({ ...config.environment, HOME: '/tmp' }))
      lines.push(`ENV ${key(name)}=${quoted(value)}`);
    lines.push(`USER ${appUser}:${appUser}`, `WORKDIR ${bare(plan.directory)}`);
    lines.push(`RUN ${json([`/home/.static/${posix.basename(staticScript)}`])}`);
    lines.push('', `FROM ${from(plan.base, options)}`, 'USER 0:0');
    lines.push(`COPY --from=content ${owner} ${json([home, home])}`);
  }
  if (content.files.length + content.copies.length > 0) {
    lines.push(`COPY --chown=0:0 ${json(['appimg/', '/etc/appimg/'])}`);
  }
  for (const directory of content.directories)
    lines.push(`COPY ${owner} ${json(['volume/', `${directory}/`])}`);
  for (const [name, value] of Object.entries(config.environment))
    lines.push(`ENV ${key(name)}=${quoted(value)}`);
  for (const [name, value] of Object.entries(config.labels))
    lines.push(`LABEL ${key(name)}=${quoted(value)}`);
  for (const port of config.exposedPorts) lines.push(`EXPOSE ${bare(port)}`);
  if (config.volumes.length > 0) lines.push(`VOLUME ${json(config.volumes)}`);
  if (config.stopSignal !== undefined) lines.push(`STOPSIGNAL ${bare(config.stopSignal)}`);
  lines.push(`USER ${bare(config.user)}`, `WORKDIR ${bare(config.workingDirectory)}`);
  lines.push(`ENTRYPOINT ${json(config.entrypoint)}`);
  if (config.command !== undefined) lines.push(`CMD ${json(config.command)}`);
  return `${lines.join('\n')}\n`;
}

/** What `docker build` needs beside the Dockerfile. All paths are relative to the context, modes are exact, the owner is root. */
export interface DockerfileContext {
  readonly files: readonly { readonly path: string; readonly mode: number; readonly content: string }[];
  /** Files of the source under another name; they must exist. */
  readonly copies: readonly { readonly path: string; readonly mode: number; readonly source: string }[];
  /** Parts of the source under a directory of the context, which must exist even when nothing is selected. */
  readonly trees: readonly {
    readonly prefix: string;
    readonly selection: SourceSelection;
    /** Only files that `layerPart` counts to this one; undefined = all. */
    readonly part?: LayerPart;
  }[];
}

export function dockerfileContext(plan: BuildPlan, options: { built?: boolean } = {}): DockerfileContext {
  const content = imageContent(plan);
  const inContext = (path: string): string => path.replace(/^\/etc\/appimg\//, 'appimg/');
  const workspace = plan.build !== undefined && options.built !== true;
  return {
    files: content.files.map((file) => ({
      path: inContext(file.path),
      mode: file.mode,
      content: file.content,
    })),
    copies: [
      ...content.copies.map((copy) => ({
        path: inContext(copy.path),
        mode: copy.mode,
        source: copy.source,
      })),
      ...(plan.staticScript === undefined || options.built === true
        ? []
        : [
            {
              path: `static/${posix.basename(plan.staticScript)}`,
              mode: 0o755,
              source: plan.staticScript,
            },
          ]),
    ],
    trees: [
      ...sourceParts(plan, options).map((part) => ({
        prefix: `${part}/`,
        selection: laidDown(plan, options),
        part,
      })),
      ...(workspace ? [{ prefix: 'workspace/', selection: workspaceSelection(plan) }] : []),
      ...(content.directories.length === 0
        ? []
        : [{ prefix: 'volume/', selection: { include: [], exclude: [] } }]),
    ],
  };
}

/** Parts that the source itself may have; where none of it enters the image, 'app' is there for the directory alone. */
function sourceParts(plan: BuildPlan, options: { built?: boolean }): readonly LayerPart[] {
  return laidDown(plan, options).include.length === 0 ? ['app'] : layerParts;
}

function laidDown(plan: BuildPlan, { built }: { built?: boolean }): SourceSelection {
  return built === true ? imageSelection(plan) : contentSelection(plan);
}

/** [path in the build stage, path in the image]. A directory's content is copied, with or without a slash at its end. */
function workspaceCopies(plan: BuildPlan): [string, string][] {
  const outputs = Object.entries(plan.build?.outputs ?? {});
  if (outputs.length === 0) return [[`${plan.directory}/`, `${plan.directory}/`]];
  return outputs.map(([pattern, target]) => {
    const path = pattern.replace(/^\.\//, '').replace(/\/+$/, '');
    if (path === '**' || path === '.') return [`${plan.directory}/`, target];
    // `dir/**` is everything below dir, which COPY says by the directory itself.
    return [`${plan.directory}/${path.replace(/\/\*\*$/, '/')}`, target];
  });
}

function from(base: PlannedBase, options: DockerfileOptions): string {
  const written = options.baseReference(base);
  const reference = parseImageReference(written);
  if (reference === undefined || reference.digest !== base.digest) {
    throw new RangeError(`${JSON.stringify(written)} is no reference to ${base.name} by its digest`);
  }
  return written;
}

/**
 * JSON form, which the Dockerfile format takes as it stands: no shell, no line ends. `<` is escaped because BuildKit looks for
 * here-documents in the text of RUN and COPY before it parses the JSON.
 */
function json(values: readonly string[]): string {
  return JSON.stringify(values).replace(
    /[^\x20-\x3B\x3D-\x7E]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A value of ENV or LABEL. `\`, `"` and `$` are what the format reads within quotes; a line end cannot be written at all. */
function quoted(value: string): string {
  if (/(?!\t)[\p{Cc}\u2028\u2029]/u.test(value)) {
    throw new RangeError('a value with control characters cannot stand in a Dockerfile');
  }
  return `"${value.replace(/[\\"$]/g, '\\$&')}"`;
}

function key(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9._/-]*$/.test(name)) throw new RangeError(`${JSON.stringify(name)} is no name`);
  return name;
}

/** An argument that stands unquoted. */
function bare(text: string): string {
  if (!/^[A-Za-z0-9._@+~/:-]+$/.test(text)) {
    throw new RangeError(`${JSON.stringify(text)} cannot stand in a Dockerfile as it is`);
  }
  return text;
}
