import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex, digestOf } from '../../oci/digest.ts';
import type { LayerEntry } from '../../oci/layer/entry.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import { requirePrograms, startDockerd } from './dockerd.ts';
import { createImage, type TestImage } from './image.ts';
import { type RunResult, run, runOk } from './process.ts';
import { createTempDirectory } from './temp.ts';

export type Architecture = 'amd64' | 'arm64';

/**
 * A real registry client with storage of its own. `image` is a name within the client until it is pushed as a `reference`,
 * `127.0.0.1:5000/team/app:tag`; all talk plain HTTP.
 */
export interface RegistryClient {
  readonly name: string;
  /** Makes an image of one layer for each file and returns what names its content there: the digest of its config. */
  createImage(
    image: string,
    files: Readonly<Record<string, Buffer>>,
    architecture?: Architecture,
  ): Promise<string>;
  push(image: string, reference: string): Promise<RunResult>;
  /** Makes an index of pushed images of one repository, and pushes it with what it names. */
  pushIndex(
    reference: string,
    images: readonly { reference: string; architecture: Architecture }[],
  ): Promise<RunResult>;
  /** Forgets everything it has stored, and pulls. */
  pull(reference: string): Promise<RunResult>;
  /** Digest of the config of what was pulled. */
  pulledConfig(reference: string): Promise<string>;
  login(host: string, user: string, password: string): Promise<RunResult>;
  logout(host: string): Promise<RunResult>;
  stop(): Promise<void>;
}

export const clientNames = ['docker', 'podman', 'buildah', 'skopeo'] as const;

export async function startClient(name: (typeof clientNames)[number]): Promise<RegistryClient> {
  if (name === 'docker') return startDockerClient();
  if (name === 'skopeo') return startSkopeo();
  return startContainersClient(name);
}

/** Several megabytes that do not compress, and small files. */
export function sampleFiles(): Record<string, Buffer> {
  return {
    'large.bin': randomBytes(3 * 1024 * 1024 + 17),
    'text.txt': Buffer.from(`${randomBytes(8).toString('hex')}\n`.repeat(1000)),
    'small.bin': randomBytes(33),
  };
}

async function startDockerClient(): Promise<RegistryClient> {
  const engine = await startDockerd();
  const directory = await createTempDirectory('client');
  const docker = (...args: string[]): Promise<RunResult> => run('docker', args, { env: engine.env });
  const configOf = async (image: string): Promise<string> =>
    (await runOk('docker', ['image', 'inspect', '--format={{.Id}}', image], { env: engine.env })).trim();
  return {
    name: 'docker',
    async createImage(image, files, architecture = 'amd64') {
      const context = await writeContext(directory.path, files);
      await runOk('docker', ['build', `--platform=linux/${architecture}`, '--tag', image, context], {
        env: engine.env,
      });
      return configOf(image);
    },
    async push(image, reference) {
      await runOk('docker', ['tag', image, reference], { env: engine.env });
      return docker('push', reference);
    },
    async pushIndex(reference, images) {
      const references = images.map((image) => image.reference);
      await runOk('docker', ['manifest', 'create', '--insecure', reference, ...references], {
        env: engine.env,
      });
      for (const image of images) {
        const platform = ['--os=linux', `--arch=${image.architecture}`];
        await runOk('docker', ['manifest', 'annotate', ...platform, reference, image.reference], {
          env: engine.env,
        });
      }
      return docker('manifest', 'push', '--insecure', '--purge', reference);
    },
    async pull(reference) {
      await docker('system', 'prune', '--all', '--force');
      return docker('pull', reference);
    },
    pulledConfig: configOf,
    login: (host, user, password) =>
      run('docker', ['login', `--username=${user}`, '--password-stdin', host], {
        env: engine.env,
        input: password,
      }),
    logout: (host) => docker('logout', host),
    async stop() {
      await engine.stop();
      await directory.remove();
    },
  };
}

/** Podman and Buildah: one storage library, nearly the same words. */
async function startContainersClient(name: 'podman' | 'buildah'): Promise<RegistryClient> {
  await requirePrograms([name]);
  const directory = await createTempDirectory('client');
  const options = [`--root=${join(directory.path, 'root')}`, `--runroot=${join(directory.path, 'run')}`];
  const env = await authFile(directory.path);
  const client = (...args: string[]): Promise<RunResult> => run(name, [...options, ...args], { env });
  const clientOk = (...args: string[]): Promise<string> => runOk(name, [...options, ...args], { env });
  const plain = '--tls-verify=false';
  const configOf = async (image: string): Promise<string> => {
    const format = name === 'podman' ? '--format={{.Id}}' : '--format={{.FromImageID}}';
    return `sha256:${(await clientOk('inspect', '--type=image', format, image)).trim()}`;
  };
  return {
    name,
    async createImage(image, files, architecture = 'amd64') {
      const context = await writeContext(directory.path, files);
      await clientOk('build', '--layers', `--platform=linux/${architecture}`, '--tag', image, context);
      return configOf(image);
    },
    push: (image, reference) => client('push', plain, image, `docker://${reference}`),
    async pushIndex(reference, images) {
      await clientOk('manifest', 'create', 'list');
      for (const image of images) {
        await clientOk(
          'manifest',
          'add',
          plain,
          `--arch=${image.architecture}`,
          'list',
          `docker://${image.reference}`,
        );
      }
      return client('manifest', 'push', '--all', plain, 'list', `docker://${reference}`);
    },
    async pull(reference) {
      await client('rmi', '--all', '--force');
      return client('pull', plain, reference);
    },
    pulledConfig: configOf,
    login: (host, user, password) =>
      run(name, ['login', plain, `--username=${user}`, '--password-stdin', host], { env, input: password }),
    logout: (host) => run(name, ['logout', host], { env }),
    async stop() {
      await client('rmi', '--all', '--force');
      await run('umount', ['--recursive', join(directory.path, 'root', 'overlay')]);
      await directory.remove();
    },
  };
}

/** Skopeo copies between places and makes nothing: its images are folders, which we write. */
async function startSkopeo(): Promise<RegistryClient> {
  await requirePrograms(['skopeo']);
  const directory = await createTempDirectory('client');
  const env = await authFile(directory.path);
  const folder = (image: string): string => join(directory.path, image.replaceAll(/[^a-z0-9]/g, '-'));
  const skopeo = (...args: string[]): Promise<RunResult> => run('skopeo', args, { env });
  const images = new Map<string, TestImage>();
  return {
    name: 'skopeo',
    async createImage(image, files, architecture = 'amd64') {
      const owner = { uid: 0, gid: 0 };
      const layers = Object.entries(files).map(([name, content]): LayerEntry[] => [
        { type: 'file', path: `data/${name}`, mode: 0o644, content, ...owner },
      ]);
      const made = await createImage(layers, { Cmd: ['/none'] }, architecture);
      images.set(image, made);
      await writeFolder(folder(image), made.manifest, [made]);
      return digestOf(made.config);
    },
    push: (image, reference) => {
      const made = images.get(image);
      if (made !== undefined) images.set(reference, made);
      return skopeo('copy', '--dest-tls-verify=false', `dir:${folder(image)}`, `docker://${reference}`);
    },
    async pushIndex(reference, wanted) {
      const made = wanted.map(({ reference: each }) => images.get(each) as TestImage);
      const manifests = made.map(({ manifest, digest }, index) => ({
        mediaType: mediaTypes.ociManifest,
        digest,
        size: manifest.length,
        platform: { os: 'linux', architecture: wanted[index]?.architecture },
      }));
      const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
      await writeFolder(folder(reference), Buffer.from(JSON.stringify(index)), made);
      const place = `dir:${folder(reference)}`;
      return skopeo('copy', '--all', '--dest-tls-verify=false', place, `docker://${reference}`);
    },
    async pull(reference) {
      await rm(folder(reference), { recursive: true, force: true });
      return skopeo('copy', '--src-tls-verify=false', `docker://${reference}`, `dir:${folder(reference)}`);
    },
    async pulledConfig(reference) {
      const manifest = JSON.parse(await readFile(join(folder(reference), 'manifest.json'), 'utf8')) as {
        config: { digest: string };
      };
      return manifest.config.digest;
    },
    login: (host, user, password) =>
      run('skopeo', ['login', '--tls-verify=false', `--username=${user}`, '--password-stdin', host], {
        env,
        input: password,
      }),
    logout: (host) => skopeo('logout', host),
    stop: () => directory.remove(),
  };
}

/** Skopeo's `dir:` format: blobs and further manifests under their hex digests. */
async function writeFolder(path: string, manifest: Buffer, images: readonly TestImage[]): Promise<void> {
  await mkdir(path, { recursive: true });
  await writeFile(join(path, 'version'), 'Directory Transport Version: 1.1\n');
  await writeFile(join(path, 'manifest.json'), manifest);
  for (const image of images) {
    await writeFile(join(path, `${digestHex(image.digest)}.manifest.json`), image.manifest);
    for (const blob of [image.config, ...image.layers]) {
      await writeFile(join(path, digestHex(digestOf(blob))), blob);
    }
  }
}

/** An empty file of logins, so that nobody's own is used. */
async function authFile(directory: string): Promise<{ REGISTRY_AUTH_FILE: string }> {
  const path = join(directory, 'auth.json');
  await writeFile(path, '{}');
  return { REGISTRY_AUTH_FILE: path };
}

async function writeContext(directory: string, files: Readonly<Record<string, Buffer>>): Promise<string> {
  const context = join(directory, 'context');
  await rm(context, { recursive: true, force: true });
  await mkdir(context);
  const copies = Object.keys(files).map((name) => `COPY ["${name}", "/data/"]`);
  await writeFile(join(context, 'Dockerfile'), ['FROM scratch', ...copies, 'CMD ["/none"]', ''].join('\n'));
  for (const [name, content] of Object.entries(files)) await writeFile(join(context, name), content);
  return context;
}
