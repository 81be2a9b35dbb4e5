import { spawn } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';

/** A file of incompressible bytes and its digest. */
export async function randomFile(path: string, bytes: number): Promise<string> {
  const body = Buffer.allocUnsafe(bytes);
  const step = 64 * 1024 * 1024;
  for (let at = 0; at < bytes; at += step) randomFillSync(body, at, Math.min(step, bytes - at));
  await writeFile(path, body);
  return `sha256:${createHash('sha256').update(body).digest('hex')}`;
}

/** Pushes a blob the way docker does: POST, one streamed PATCH, an empty PUT. The body is sent by curl, a client of little cost. */
export async function pushBlob(
  registry: string,
  repository: string,
  file: string,
  digest: string,
): Promise<void> {
  const opened = await fetch(`${registry}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  await opened.arrayBuffer();
  const location = new URL(opened.headers.get('location') ?? '', registry).href;
  const headers = await run('curl', [
    '-sS',
    '--fail',
    '-o',
    '/dev/null',
    '-D',
    '-',
    '-X',
    'PATCH',
    '-T',
    file,
    '-H',
    'Expect:',
    '-H',
    'Content-Type: application/octet-stream',
    location,
  ]); // prettier-ignore
  const next = new URL(/^location: *(\S+)/im.exec(headers)?.[1] ?? location, registry);
  next.searchParams.set('digest', digest);
  const done = await fetch(next, { method: 'PUT' });
  const text = await done.text();
  if (done.status !== 201) throw new Error(`PUT ${next.pathname} answered ${done.status}: ${text}`);
}

/** Reads a blob and throws it away. */
export async function pullBlob(registry: string, repository: string, digest: string): Promise<void> {
  await run('curl', [
    '-sS',
    '--fail',
    '-L',
    '-o',
    '/dev/null',
    `${registry}/v2/${repository}/blobs/${digest}`,
  ]);
}

/** Pushes a config and a manifest over layers that are already there; returns the manifest's digest. */
export async function pushManifest(
  registry: string,
  repository: string,
  tag: string,
  layers: { digest: string; size: number }[],
): Promise<string> {
  const config = Buffer.from(
    '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}',
  );
  const configDigest = `sha256:${createHash('sha256').update(config).digest('hex')}`;
  const opened = await fetch(`${registry}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  await opened.arrayBuffer();
  const location = new URL(opened.headers.get('location') ?? '', registry);
  location.searchParams.set('digest', configDigest);
  await expectStatus(
    await fetch(location, {
      method: 'PUT',
      body: config,
      headers: { 'content-type': 'application/octet-stream' },
    }),
    201,
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: configDigest,
      size: config.length,
    },
    layers: layers.map((layer) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer })),
  });
  await expectStatus(
    await fetch(`${registry}/v2/${repository}/manifests/${tag}`, {
      method: 'PUT',
      body: manifest,
      headers: { 'content-type': mediaType },
    }),
    201,
  );
  return `sha256:${createHash('sha256').update(manifest).digest('hex')}`;
}

/** The blob without bytes: the only one whose HEAD `wrk` can read, as it waits for the body that Content-Length speaks of. */
export const emptyBlob = `sha256:${createHash('sha256').digest('hex')}`;

/** Requests per second with 32 connections. `script` is a file to write what wrk shall send. */
export async function load(
  url: string,
  options: { method: 'GET' | 'HEAD'; accept?: string; seconds: number; script: string },
): Promise<number> {
  const { method, accept, seconds, script } = options;
  const lines = [`wrk.method = "${method}"`];
  if (accept !== undefined) lines.push(`wrk.headers["Accept"] = "${accept}"`);
  await writeFile(script, `${lines.join('\n')}\n`);
  const output = await run('wrk', ['-t', '1', '-c', '32', '-d', `${seconds}s`, '-s', script, url]);
  if (/^ *(Non-2xx|Socket errors)/m.test(output)) throw new Error(`wrk saw errors:\n${output}`);
  return numberIn(output, /^Requests\/sec:\s+([\d.]+)/m);
}

function numberIn(output: string, pattern: RegExp): number {
  const text = pattern.exec(output)?.[1];
  if (text === undefined) throw new Error(`no ${pattern.source} in:\n${output}`);
  return Number(text);
}

export function run(
  program: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.once('error', (cause) =>
      reject(new Error(`${program} does not start; run \`npm run setup\``, { cause })),
    );
    child.once('close', (code) =>
      code === 0 ? resolve(out) : reject(new Error(`${program} ${args.join(' ')}: exit ${code}\n${err}`)),
    );
  });
}

async function expectStatus(response: Response, status: number): Promise<void> {
  const text = await response.text();
  if (response.status !== status) throw new Error(`${response.url} answered ${response.status}: ${text}`);
}
