import type { Command } from 'commander';
import { UserError } from '../../core/user-error.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { parseDigest } from '../../oci/digest.ts';
import { isIndex } from '../../oci/media-types.ts';
import { isRepositoryName } from '../../oci/reference.ts';
import type { Page, PageOptions, Registry } from '../../oci/registry.ts';
import type { CliContext } from '../context.ts';
import { parseServerReference, withServerRegistry } from '../server-registry.ts';
import { formatBytes } from '../text.ts';
import { registerImagesCopy } from './images-copy.ts';
import { registerImagesImport } from './images-import.ts';
import { registerImagesRemove } from './images-remove.ts';

interface ServerFlags {
  readonly server?: string;
  readonly json?: boolean;
}

/** `images ls | tags REPO | inspect REF | rm REF|REPO | copy SRC DST | import SRC` */
export function registerImages(program: Command, context: CliContext): void {
  const images = program
    .command('images')
    .description('look at repositories and images, copy and delete them');
  const server = ['--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)'] as const;
  const json = ['--json', 'print JSON'] as const;

  images
    .command('ls')
    .description('list repositories')
    .option(...server)
    .option(...json)
    .action((flags: ServerFlags) =>
      withServerRegistry(context, flags.server, async (registry) => {
        const names = await listAll((page) => registry.listRepositories(page));
        context.stdout(
          flags.json === true ? toJson(names.map((repository) => ({ repository }))) : toLines(names),
        );
      }),
    );

  images
    .command('tags <repository>')
    .description('list the tags of a repository')
    .option(...server)
    .option(...json)
    .action((repository: string, flags: ServerFlags) =>
      withServerRegistry(context, flags.server, async (registry) => {
        const name = repositoryName(repository);
        const tags = await listAll((page) => registry.listTags(name, page));
        context.stdout(flags.json === true ? toJson(tags.map((tag) => ({ tag }))) : toLines(tags));
      }),
    );

  images
    .command('inspect <reference>')
    .description('show what an image is made of, and its roles')
    .option(...server)
    .option(...json)
    .action((reference: string, flags: ServerFlags) =>
      withServerRegistry(context, flags.server, async (registry) => {
        const image = await inspect(registry, reference);
        context.stdout(flags.json === true ? toJson(image) : describe(image));
      }),
    );

  registerImagesRemove(images, context);
  registerImagesCopy(images, context);
  registerImagesImport(images, context);
}

interface InspectedImage {
  readonly repository: string;
  readonly digest: string;
  readonly mediaType: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platforms?: readonly { digest: string; platform: string }[];
  readonly layers?: readonly { digest: string; size: number }[];
  /** The image configuration's `config`: Env, Entrypoint, Cmd, Labels … */
  readonly config?: Readonly<Record<string, unknown>>;
  /** As App.yaml declared them. */
  readonly roles?: unknown;
}

async function inspect(registry: Registry, text: string): Promise<InspectedImage> {
  const { repository, tag, digest } = parseServerReference(text);
  const { descriptor, bytes } = await registry.getManifest(repository, digest ?? tag ?? 'latest');
  const manifest = JSON.parse(bytes.toString('utf8')) as {
    readonly annotations?: Record<string, string>;
    readonly manifests?: readonly Descriptor[];
    readonly layers?: readonly Descriptor[];
    readonly config?: Descriptor;
  };
  const found: InspectedImage = {
    repository,
    digest: descriptor.digest,
    mediaType: descriptor.mediaType,
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
  };
  if (isIndex(descriptor.mediaType)) {
    const platforms = (manifest.manifests ?? []).map((child) => ({
      digest: child.digest,
      platform:
        child.platform === undefined ? 'unknown' : `${child.platform.os}/${child.platform.architecture}`,
    }));
    return { ...found, platforms };
  }
  const layers = (manifest.layers ?? []).map((layer) => ({ digest: layer.digest, size: layer.size }));
  const config =
    manifest.config?.mediaType.includes('image') === true
      ? await readConfig(registry, repository, manifest.config.digest)
      : undefined;
  if (config === undefined) return { ...found, layers };
  const labels = config['Labels'] as Record<string, string> | undefined;
  const roles = labels?.['org.brickyard.roles'];
  return {
    ...found,
    layers,
    config,
    ...(roles === undefined ? {} : { roles: JSON.parse(roles) as unknown }),
  };
}

async function readConfig(
  registry: Registry,
  repository: string,
  digest: string,
): Promise<Record<string, unknown>> {
  const { body } = await registry.getBlob(repository, parseDigest(digest));
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
  const image = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { config?: Record<string, unknown> };
  return image.config ?? {};
}

function describe(image: InspectedImage): string {
  const lines = [
    `repository   ${image.repository}`,
    `digest       ${image.digest}`,
    `type         ${image.mediaType}`,
  ];
  for (const { digest, platform } of image.platforms ?? []) lines.push(`platform     ${platform}  ${digest}`);
  for (const { digest, size } of image.layers ?? [])
    lines.push(`layer        ${digest}  ${formatBytes(size)}`);
  for (const [name, value] of Object.entries(image.config ?? {})) {
    if (name !== 'Labels') lines.push(`${name.toLowerCase().padEnd(13)}${JSON.stringify(value)}`);
  }
  for (const [name, value] of Object.entries(image.annotations ?? {}))
    lines.push(`annotation   ${name}=${value}`);
  if (image.roles !== undefined) lines.push('roles', JSON.stringify(image.roles, null, 2));
  return toLines(lines);
}

/** Every page of a listing. */
async function listAll(list: (page: PageOptions) => Promise<Page<string>>): Promise<string[]> {
  const all: string[] = [];
  let last: string | undefined;
  do {
    const page: Page<string> = await list({ limit: 1000, ...(last === undefined ? {} : { last }) });
    all.push(...page.entries);
    last = page.next;
  } while (last !== undefined);
  return all;
}

function repositoryName(text: string): string {
  if (isRepositoryName(text)) return text;
  throw new UserError(`"${text}" is no repository name, such as team/app`, { exitCode: 2 });
}

function toLines(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
