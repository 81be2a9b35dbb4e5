import type { Command } from 'commander';
import { UserError } from '../../core/user-error.ts';
import { isRepositoryName, parseImageReference } from '../../oci/reference.ts';
import type { Page, PageOptions } from '../../oci/registry.ts';
import type { CliContext } from '../context.ts';
import { openServerApi } from '../server-api.ts';
import { parseServerReference, withServerRegistry } from '../server-registry.ts';
import { toJson } from '../text.ts';
import { readImageHistory } from './image-history.ts';
import { registerImagesCopy } from './images-copy.ts';
import { registerImagesImport } from './images-import.ts';
import { describeImage, inspectImage } from './images-inspect.ts';
import { registerImagesPromote } from './images-promote.ts';
import { registerImagesRemove } from './images-remove.ts';

interface ServerFlags {
  readonly server?: string;
  readonly json?: boolean;
}

/** `images ls | tags REPO | inspect REF | rm REF|REPO | promote REF TAG | copy SRC DST | import SRC` */
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
        const name = repositoryName(context, repository, flags.server);
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
        const found = await inspectImage(registry, parseServerReference(context, reference, flags.server));
        const api = await openServerApi(context, flags.server);
        const image = { ...found, ...(await readImageHistory(api, found)) };
        context.stdout(flags.json === true ? toJson(image) : toLines(describeImage(image)));
      }),
    );

  registerImagesRemove(images, context);
  registerImagesPromote(images, context);
  registerImagesCopy(images, context);
  registerImagesImport(images, context);
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

/** As `images ls` prints it, or with the server's own host in front. Errors: UserError. */
function repositoryName(context: CliContext, text: string, server: string | undefined): string {
  if (isRepositoryName(text)) return text;
  const reference = parseImageReference(text);
  if (reference === undefined || reference.tag !== undefined || reference.digest !== undefined) {
    throw new UserError(`"${text}" is no repository name, such as team/app`, { exitCode: 2 });
  }
  return parseServerReference(context, text, server).repository;
}

function toLines(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}
