import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { acceptClasses, acceptOfClass } from '../fetch/accept-class.ts';
import type { ManifestAnswer } from '../fetch/fetch-manifest.ts';
import { parseCacheHeader } from './cache-file.ts';
import { cachePath } from './pool-cache.ts';

/**
 * What nginx keeps of a tag for clients that accept something else, where it is something that this one accepts, too: while the registry is away, an image
 * that Docker pulled must go on being pulled by containerd. The newest, where there are several. `repository`: as in the key. Errors: those of reading.
 */
export async function readKeptTag(
  folder: string,
  { repository, tag, accept }: { readonly repository: string; readonly tag: string; readonly accept: string },
): Promise<ManifestAnswer | undefined> {
  const wanted = acceptOfClass(accept)?.split(', ');
  let newest: { readonly date: bigint; readonly answer: ManifestAnswer } | undefined;
  for (const other of acceptClasses) {
    const found = await readAnswer(cachePath(join(folder, 'manifests'), `t|${repository}|${tag}|${other}`));
    if (found === undefined || (newest !== undefined && newest.date >= found.date)) continue;
    const type = found.answer.headers['content-type']?.split(';', 1)[0] ?? '';
    if (wanted === undefined || wanted.includes('*/*') || wanted.includes(type)) newest = found;
  }
  return newest?.answer;
}

async function readAnswer(file: string): Promise<{ date: bigint; answer: ManifestAnswer } | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const header = parseCacheHeader(bytes);
  if (header === undefined) return undefined;
  const headers: Record<string, string> = {};
  for (const name of ['content-type', 'docker-content-digest', 'etag']) {
    const value = header.headers.get(name);
    if (value !== undefined) headers[name] = value;
  }
  return {
    date: header.date,
    answer: { status: 200, headers, body: bytes.subarray(header.bodyStart) },
  };
}
