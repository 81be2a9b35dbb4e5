import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { digestOf } from '../../../oci/digest.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';
import { layerPart, layerParts } from '../../plan/layer-part.ts';
import type { BuildPlan, PlannedBase } from '../../plan/plan.ts';
import { dockerfileContext, printDockerfile } from '../../plan/print-dockerfile.ts';
import { maxIgnoreFileBytes, selectSource } from '../../plan/select-source.ts';
import type { SourceEntry, SourceTree } from '../../plan/source-tree.ts';
import type { BuildEngine, EngineContext, EngineInput, EngineResult } from '../engine.ts';
import type { BaseImages, LoadedImage } from './base-image.ts';
import type { ContainerApi } from './container-api.ts';
import { importImage } from './import-image.ts';
import { tarEnd, tarFile, tarHeader } from './tar-file.ts';

export interface DockerfileEngineOptions {
  readonly api: ContainerApi;
  readonly images: BaseImages;
  readonly registry: Registry;
  /** Bytes for each RUN instruction. */
  readonly memory: number;
}

/**
 * Builds the generated Dockerfile by the engine's classic builder and brings the image into the registry: what a person with
 * that Dockerfile would get, and what the assembler's image is compared with. Errors: JobFailed when an instruction fails.
 */
export function createDockerfileEngine(options: DockerfileEngineOptions): BuildEngine {
  const { api, images, registry, memory } = options;
  return {
    name: 'docker',

    async build(input, context) {
      const { plan } = input;
      const tag = `localhost/brickyard-build:${randomBytes(8).toString('hex')}`;
      const base = await images.ensure(plan.base, context.signal, context.log);
      const bases = new Map([[plan.base.digest, base]]);
      if (plan.build !== undefined && input.outputs === undefined) {
        bases.set(plan.build.base.digest, await images.ensure(plan.build.base, context.signal, context.log));
      }
      try {
        const archive = Readable.from(contextArchive(input, bases), { objectMode: false });
        await readMessages(
          await api.buildImage(
            archive,
            { tag, network: plan.build?.network === 'open' ? 'open' : 'none', memory },
            context.signal,
          ),
          context,
        );
        const image = await importImage({
          registry,
          repository: plan.repository,
          base,
          baseRepository: plan.base.repository,
          open: () => api.saveImage(tag, context.signal),
        });
        return await putImage(input, image);
      } finally {
        input.outputs?.destroy();
        await api.removeImage(tag);
      }
    },
  };

  async function putImage(
    { plan, annotations, tags }: EngineInput,
    image: Awaited<ReturnType<typeof importImage>>,
  ): Promise<EngineResult> {
    const { config, layers, mounted } = image;
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: { mediaType: mediaTypes.ociConfig, digest: digestOf(config), size: config.length },
        layers,
        annotations,
      }),
    );
    const { descriptor } = await registry.putManifest(
      plan.repository,
      digestOf(manifest),
      manifest,
      mediaTypes.ociManifest,
      { tags },
    );
    const bytes = (from: number, to?: number): number =>
      layers.slice(from, to).reduce((sum, { size }) => sum + size, 0);
    return {
      manifest: descriptor,
      mountedLayers: mounted,
      mountedBytes: bytes(0, mounted),
      skippedLayers: 0,
      skippedBytes: 0,
      storedLayers: layers.length - mounted,
      storedBytes: bytes(mounted),
    };
  }
}

/** The build context as a tar: the Dockerfile, generated files, and the parts of the source it asks for, streamed from git. */
async function* contextArchive(
  { plan, source, outputs }: EngineInput,
  bases: ReadonlyMap<string, LoadedImage>,
): AsyncGenerator<Buffer, void, undefined> {
  const built = outputs !== undefined;
  const context = dockerfileContext(plan, { built });
  yield* tarFile('Dockerfile', Buffer.from(dockerfile(plan, bases, built)));
  for (const { path, mode, content } of context.files) yield* tarFile(path, Buffer.from(content), { mode });

  const entries = await source.entries();
  const ignore = (await source.readFile('.dockerignore', maxIgnoreFileBytes))?.toString();
  for (const { prefix, selection, part } of context.trees) {
    yield directory(prefix.slice(0, -1));
    const selected = selectSource(entries, selection, ignore);
    const [refused] = selected.refused;
    if (refused !== undefined) {
      throw new JobFailed(`${JSON.stringify(refused.path)} cannot enter an image: ${refused.reason}`);
    }
    const wanted = selected.entries.filter(
      ({ path }) => part === undefined || layerPart(path, plan.appname) === part,
    );
    yield* sourceFiles(source, wanted, (path) => `${prefix}${path}`);
  }
  for (const { path, mode, source: name } of context.copies) {
    const entry = entries.find((each) => each.path === Buffer.from(name).toString('latin1'));
    if (entry === undefined) throw new JobFailed(`${JSON.stringify(name)} is not in the source`);
    yield* sourceFiles(source, [entry], () => path, mode);
  }
  if (outputs !== undefined) yield* outputFiles(outputs, plan);
  yield tarEnd();
}

/**
 * The printer names a base by its digest, as one who pulls must. Here it was loaded under a name of its own and nothing is
 * pulled, so only the FROM lines differ.
 */
function dockerfile(plan: BuildPlan, bases: ReadonlyMap<string, LoadedImage>, built: boolean): string {
  const reference = (base: PlannedBase): string => `localhost/brickyard-base@${base.digest}`;
  let text = printDockerfile(plan, { baseReference: reference, built });
  for (const [digest, { name }] of bases) {
    text = text.replaceAll(`\nFROM localhost/brickyard-base@${digest}`, `\nFROM ${name}`);
  }
  return text;
}

async function* sourceFiles(
  source: SourceTree,
  entries: readonly SourceEntry[],
  place: (path: string) => string,
  exactMode?: number,
): AsyncGenerator<Buffer, void, undefined> {
  for await (const { entry, size, body } of source.read(entries)) {
    const path = place(entry.path);
    if (entry.kind === 'symlink') {
      const chunks: Buffer[] = [];
      for await (const chunk of body) chunks.push(chunk as Buffer);
      const target = Buffer.concat(chunks).toString('latin1');
      yield tarHeader({ type: 'symlink', path, target, uid: 0, gid: 0 });
    } else {
      const mode = exactMode ?? (entry.kind === 'executable' ? 0o755 : 0o644);
      yield* tarFile(path, body, { size, mode });
    }
  }
}

/** What a sandbox handed out, moved from its place in the image to its part below `outputs/`. */
async function* outputFiles(outputs: Readable, plan: BuildPlan): AsyncGenerator<Buffer, void, undefined> {
  const home = plan.directory.slice(1);
  yield directory('outputs');
  for (const part of layerParts) yield directory(`outputs/${part}`);
  for await (const { entry, body } of readTar(outputs)) {
    const path = entry.path.replace(/\/+$/, '');
    if (path === home) continue;
    if (!path.startsWith(`${home}/`)) {
      throw new JobFailed(`output ${JSON.stringify(`/${path}`)} does not lie below /${home}`);
    }
    const inside = path.slice(home.length + 1);
    const part = layerPart(entry.type === 'directory' ? `${inside}/` : inside, plan.appname);
    const place = `outputs/${part}/${inside}`;
    const owner = { uid: 0, gid: 0 };
    if (entry.type === 'directory') yield directory(place);
    else if (entry.type === 'symlink') {
      yield tarHeader({ type: 'symlink', path: place, target: entry.target, ...owner });
    } else if (entry.type === 'file') {
      yield* tarFile(place, body, { size: entry.size, mode: (entry.mode & 0o111) === 0 ? 0o644 : 0o755 });
    } else throw new JobFailed(`output ${JSON.stringify(`/${path}`)} is a ${entry.type}`);
  }
}

function directory(path: string): Buffer {
  return tarHeader({ type: 'directory', path, mode: 0o755, uid: 0, gid: 0 });
}

/** The builder answers 200 before it begins: a failed instruction is a line of the answer. Errors: JobFailed. */
async function readMessages(answer: Readable, context: EngineContext): Promise<void> {
  let text = '';
  let failure: string | undefined;
  const read = (line: string): void => {
    if (line.trim() === '') return;
    const message = JSON.parse(line) as { stream?: string; error?: string };
    failure ??= message.error;
    for (const part of (message.stream ?? '').split('\n')) if (part.trim() !== '') context.log(part);
  };
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    text += chunk.toString();
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    lines.forEach(read);
  }
  read(text);
  if (failure !== undefined) throw new JobFailed(`the engine could not build the Dockerfile: ${failure}`);
}
