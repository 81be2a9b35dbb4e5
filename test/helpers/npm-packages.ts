import { createReadStream } from 'node:fs';
import { access, copyFile, readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { runOk } from './process.ts';
import { createTempDirectory } from './temp.ts';

/** A package registry for build containers: their engine has neither a way to the machine's own nor its settings. */
export interface NpmPackages {
  /** For npm's setting `registry`. */
  readonly url: string;
  close(): Promise<void>;
}

interface LockedPackage {
  readonly version?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
}

/**
 * Serves what the lock file in `root` needs without development dependencies, fetched by this machine's npm. Listens on `host`, an address
 * that the builds' proxy reaches and is told of.
 */
export async function serveNpmPackages(root: string, host: string): Promise<NpmPackages> {
  const cache = (await runOk('npm', ['config', 'get', 'cache'], { cwd: root })).trim();
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockedPackage>;
  };
  const documents = new Map<string, Record<string, object>>();
  const archives = new Map<string, string>();
  for (const [path, { version, integrity, dev, os, cpu }] of Object.entries(lock.packages)) {
    if (dev === true || version === undefined || integrity === undefined) continue;
    // For other machines: npm fetches them neither here nor there.
    if (os?.includes(process.platform) === false || cpu?.includes(process.arch) === false) continue;
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
    const archive = `/${name}/-/${version}.tgz`;
    const versions = documents.get(name) ?? {};
    documents.set(name, { ...versions, [version]: { name, version, dist: { integrity, tarball: archive } } });
    archives.set(archive, cachedFile(cache, integrity));
  }
  // Whoever has installed this checkout has them already.
  if (!(await allThere(archives.values()))) await fetchPackages(root);
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '');
    const file = archives.get(path);
    const versions = documents.get(path.slice(1));
    const base = `http://${request.headers.host}`;
    const answer = async (): Promise<void> => {
      if (file !== undefined) {
        response.setHeader('content-length', (await stat(file)).size);
        await pipeline(createReadStream(file), response);
      } else if (versions !== undefined) {
        response.setHeader('content-type', 'application/json');
        response.end(
          JSON.stringify({ name: path.slice(1), versions }).replaceAll('"tarball":"/', `"tarball":"${base}/`),
        );
      } else {
        response.writeHead(404).end();
      }
    };
    answer().catch((error: unknown) => response.destroy(error as Error));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, resolve);
  });
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function allThere(files: Iterable<string>): Promise<boolean> {
  try {
    await Promise.all([...files].map((file) => access(file)));
    return true;
  } catch {
    return false;
  }
}

/** Into npm's cache. */
async function fetchPackages(root: string): Promise<void> {
  await using directory = await createTempDirectory('npm');
  for (const name of ['package.json', 'package-lock.json', '.npmrc']) {
    await copyFile(join(root, name), join(directory.path, name));
  }
  await runOk('npm', ['ci', '--omit=dev', '--ignore-scripts', '--prefer-offline'], { cwd: directory.path });
}

/** npm keeps archives by their checksum, the hexadecimal form of which is their path. */
function cachedFile(cache: string, integrity: string): string {
  const [algorithm = '', base64 = ''] = integrity.split('-');
  const hex = Buffer.from(base64, 'base64').toString('hex');
  return join(cache, '_cacache/content-v2', algorithm, hex.slice(0, 2), hex.slice(2, 4), hex.slice(4));
}
