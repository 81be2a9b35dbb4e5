import { resolve } from 'node:path';
import { ask, brickyard, show } from './programs.ts';

const root = resolve(import.meta.dirname, '../..');

/** Variables of `.env` and what they are made of: entries of the catalog, and the program itself. */
const parts = {
  BRICKYARD_SERVER_IMAGE: { name: 'brickyard/server', from: 'tools/brickyard-server:compose' },
  BRICKYARD_NGINX_IMAGE: { name: 'brickyard/nginx', from: 'baseimages/nginx:1' },
  BRICKYARD_REDIS_IMAGE: { name: 'brickyard/redis', from: 'baseimages/redis:7' },
  BRICKYARD_CEPH_IMAGE: { name: 'brickyard/ceph', from: 'baseimages/ceph:16' },
} as const;

export type ImageVariable = keyof typeof parts;

export interface ImagesOptions {
  /** A Brickyard server without accounts, on this machine's loopback, which builds with `engineSocket`. */
  readonly server: string;
  readonly engineSocket: string;
  readonly env: NodeJS.ProcessEnv;
  /** Which to make; others are somebody else's, e.g. an S3 store of one's own. */
  readonly wanted: readonly ImageVariable[];
}

/**
 * Makes the images of an installation from the catalog and this checkout, as far as something changed, and gives them to the container engine. No image
 * registry is asked. Returns a reference for each, which names its content: another content makes compose start the container anew.
 */
export async function makeImages(options: ImagesOptions): Promise<Partial<Record<ImageVariable, string>>> {
  const { server, engineSocket, wanted } = options;
  const env = { ...options.env, BRICKYARD_SERVER: server, BRICKYARD_BUILDER_ENGINE: engineSocket };
  const entries = wanted.map((variable) => parts[variable].from).filter((from) => from.startsWith(catalog));
  const own = wanted.includes('BRICKYARD_SERVER_IMAGE');
  const bases = entries.map((from) => from.slice(catalog.length));
  await brickyard(['base', 'build', ...(own ? ['nodejs-git'] : []), ...bases], { env });
  if (own) {
    await brickyard(['build', root, '--repository', 'tools/brickyard', '--tag', 'compose'], { env });
  }
  const images: Partial<Record<ImageVariable, string>> = {};
  for (const variable of wanted) images[variable] = await take(parts[variable], { server, env });
  return images;
}

const catalog = 'baseimages/';

async function take(
  { name, from }: { name: string; from: string },
  { server, env }: { server: string; env: NodeJS.ProcessEnv },
): Promise<string> {
  const reference = `${new URL(server).host}/${from}`;
  await show('docker', ['pull', '--quiet', reference], { env });
  const id = await ask('docker', ['image', 'inspect', '--format', '{{.Id}}', reference], { env });
  const image = `${name}:${id.replace('sha256:', '').slice(0, 12)}`;
  await ask('docker', ['tag', reference, image], { env });
  // The server's port means nothing to anybody later.
  await ask('docker', ['rmi', reference], { env });
  return image;
}
