import { type Digest, digestOf } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { Answer, Http } from './fault-http.ts';
import type { Content, Random } from './fault-random.ts';

export interface KnownBlob {
  readonly repository: string;
  readonly content: Content;
  /** `unknown`: a request that would change it was cut off. */
  state: 'there' | 'gone' | 'unknown';
  /** Named by a manifest: never deleted by the client. */
  used: boolean;
}

export interface KnownManifest {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly subject: Digest | undefined;
  state: 'there' | 'gone' | 'unknown';
}

/**
 * What one client may rely on in the repositories that only it writes to: what was acknowledged, and, where an answer never
 * came, every outcome that is allowed. Looking makes the outcome certain: from then on only that one is allowed.
 */
export interface FaultModel {
  readonly repository: string;
  readonly blobs: Map<string, KnownBlob>;
  readonly manifests: Map<Digest, KnownManifest>;
  /** Tag → digests that it may have; undefined = that there is no such tag. */
  readonly tags: Map<string, Set<Digest | undefined>>;
  addBlob(repository: string, content: Content, state: KnownBlob['state']): KnownBlob;
  addManifest(bytes: Buffer, subject?: Digest): KnownManifest;
  allowTag(tag: string, digest: Digest | undefined): void;
  setTag(tag: string, digest: Digest | undefined): void;
  /** Each throws when the server says anything that the client may not see. */
  checkBlob(blob: KnownBlob): Promise<void>;
  checkManifest(manifest: KnownManifest): Promise<void>;
  checkTag(tag: string): Promise<void>;
  checkTagList(): Promise<void>;
  checkReferrers(subject: Digest): Promise<void>;
  /** Whatever is uncertain now. */
  checkUncertain(): Promise<void>;
  /** `count` things of each kind. */
  checkSample(random: Random, count: number): Promise<void>;
  checkAll(): Promise<void>;
}

export function createFaultModel(http: Http, repository: string): FaultModel {
  const blobs = new Map<string, KnownBlob>();
  const manifests = new Map<Digest, KnownManifest>();
  const tags: FaultModel['tags'] = new Map();

  const addBlob: FaultModel['addBlob'] = (name, content, state) => {
    const blob: KnownBlob = { repository: name, content, state, used: false };
    blobs.set(`${name}@${content.digest}`, blob);
    return blob;
  };

  const addManifest: FaultModel['addManifest'] = (bytes, subject) => {
    const manifest: KnownManifest = { digest: digestOf(bytes), bytes, subject, state: 'unknown' };
    manifests.set(manifest.digest, manifest);
    return manifest;
  };

  const allowedOf = (tag: string): Set<Digest | undefined> => tags.get(tag) ?? new Set([undefined]);

  async function checkBlob(blob: KnownBlob): Promise<void> {
    const { content } = blob;
    const what = `blob ${content.name} (${content.size} bytes, ${content.digest}) of ${blob.repository}`;
    const answer = await http.send('GET', `/v2/${blob.repository}/blobs/${content.digest}`);
    if (answer.status === 200) {
      if (blob.state === 'gone') throw new Error(`${what} was deleted and is there again`);
      const actual = digestOf(answer.body);
      if (actual !== content.digest)
        throw new Error(`${what} has ${answer.body.length} other bytes: ${actual}`);
      blob.state = 'there';
    } else {
      if (answer.status !== 404 || blob.state === 'there') throw unexpected(`${what}, ${blob.state}`, answer);
      blob.state = 'gone';
    }
  }

  async function checkManifest(manifest: KnownManifest): Promise<void> {
    const what = `manifest ${manifest.digest} of ${repository}`;
    const answer = await http.send('GET', `/v2/${repository}/manifests/${manifest.digest}`);
    if (answer.status === 200) {
      if (manifest.state === 'gone') throw new Error(`${what} was deleted and is there again`);
      if (!answer.body.equals(manifest.bytes))
        throw new Error(`${what} has other bytes: ${answer.body.toString()}`);
      manifest.state = 'there';
    } else {
      if (answer.status !== 404 || manifest.state === 'there')
        throw unexpected(`${what}, ${manifest.state}`, answer);
      manifest.state = 'gone';
    }
  }

  async function checkTag(tag: string): Promise<void> {
    const allowed = allowedOf(tag);
    const what = `tag ${repository}:${tag}, allowed ${[...allowed].join(' or ')}`;
    const answer = await http.send('GET', `/v2/${repository}/manifests/${tag}`);
    if (answer.status !== 200 && answer.status !== 404) throw unexpected(what, answer);
    const found = answer.status === 404 ? undefined : digestOf(answer.body);
    if (!allowed.has(found)) throw unexpected(what, answer);
    if (found !== undefined) {
      const manifest = manifests.get(found);
      if (manifest === undefined || manifest.state === 'gone')
        throw unexpected(`${what}: not its manifest`, answer);
      manifest.state = 'there';
    }
    tags.set(tag, new Set([found]));
  }

  async function checkTagList(): Promise<void> {
    const answer = await http.send('GET', `/v2/${repository}/tags/list?n=1000`);
    if (answer.status !== 200 && answer.status !== 404) throw unexpected(`tags of ${repository}`, answer);
    const listed = new Set(
      answer.status === 404 ? [] : (JSON.parse(answer.body.toString()) as { tags: string[] }).tags,
    );
    for (const [tag, allowed] of tags) {
      if (!allowed.has(undefined) && !listed.has(tag)) throw unexpected(`tag ${tag} is not listed`, answer);
    }
    for (const tag of listed) {
      const some = [...allowedOf(tag)].some((digest) => digest !== undefined);
      if (!some) throw unexpected(`tag ${tag} is listed and must not exist`, answer);
    }
  }

  async function checkReferrers(subject: Digest): Promise<void> {
    const answer = await http.send('GET', `/v2/${repository}/referrers/${subject}`);
    if (answer.status !== 200) throw unexpected(`referrers of ${subject}`, answer);
    const { manifests: entries } = JSON.parse(answer.body.toString()) as { manifests: { digest: Digest }[] };
    const listed = new Set(entries.map(({ digest }) => digest));
    for (const manifest of manifests.values()) {
      if (manifest.subject !== subject) continue;
      const has = listed.delete(manifest.digest);
      if (manifest.state === 'there' && !has)
        throw unexpected(`referrer ${manifest.digest} is not listed`, answer);
      if (manifest.state === 'gone' && has)
        throw unexpected(`referrer ${manifest.digest} was deleted`, answer);
    }
    if (listed.size > 0) throw unexpected(`referrers that nobody pushed`, answer);
  }

  /** A push whose answer never came may lack its entry among the referrers; pushing again, as clients do, makes up for it. */
  async function repeat(manifest: KnownManifest): Promise<void> {
    const answer = await http.send('PUT', `/v2/${repository}/manifests/${manifest.digest}`, {
      headers: { 'content-type': mediaTypes.ociManifest },
      body: manifest.bytes,
    });
    if (answer.status !== 201) throw unexpected(`the same push of ${manifest.digest} again`, answer);
  }

  async function checkUncertain(): Promise<void> {
    for (const blob of blobs.values()) if (blob.state === 'unknown') await checkBlob(blob);
    for (const manifest of [...manifests.values()].filter(({ state }) => state === 'unknown')) {
      await checkManifest(manifest);
      if (manifest.subject === undefined) continue;
      if (manifest.state === 'there') {
        // Still uncertain when this is cut off, too.
        manifest.state = 'unknown';
        await repeat(manifest);
        manifest.state = 'there';
      }
      await checkReferrers(manifest.subject);
    }
    for (const [tag, allowed] of tags) if (allowed.size > 1) await checkTag(tag);
  }

  async function checkSample(random: Random, count: number): Promise<void> {
    for (const blob of sample(random, [...blobs.values()], count)) {
      // The large ones are read in the end.
      if (blob.content.size < 2_000_000) await checkBlob(blob);
    }
    for (const manifest of sample(random, [...manifests.values()], count)) await checkManifest(manifest);
    for (const tag of sample(random, [...tags.keys()], count)) await checkTag(tag);
    await checkTagList();
  }

  async function checkAll(): Promise<void> {
    await checkUncertain();
    for (const blob of blobs.values()) await checkBlob(blob);
    for (const manifest of manifests.values()) {
      await checkManifest(manifest);
      await checkReferrers(manifest.subject ?? manifest.digest);
    }
    for (const tag of tags.keys()) await checkTag(tag);
    await checkTagList();
  }

  return {
    repository,
    blobs,
    manifests,
    tags,
    addBlob,
    addManifest,
    allowTag: (tag, digest) => void tags.set(tag, allowedOf(tag).add(digest)),
    setTag: (tag, digest) => void tags.set(tag, new Set([digest])),
    checkBlob,
    checkManifest,
    checkTag,
    checkTagList,
    checkReferrers,
    checkUncertain,
    checkSample,
    checkAll,
  };
}

export function unexpected(what: string, answer: Answer): Error {
  return new Error(`${what}: the server said ${answer.status} ${answer.body.toString('utf8', 0, 600)}`);
}

/** A manifest over blobs, the first of which is its config. `note` tells it from others. */
export function manifestOf(blobs: readonly Content[], note: string, subject?: KnownManifest): Buffer {
  const descriptors = blobs.map(({ digest, size }) => ({ mediaType: mediaTypes.ociLayer, digest, size }));
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { ...descriptors[0], mediaType: 'application/vnd.example.config' },
      layers: descriptors.slice(1),
      ...(subject === undefined
        ? {}
        : {
            subject: {
              mediaType: mediaTypes.ociManifest,
              digest: subject.digest,
              size: subject.bytes.length,
            },
          }),
      annotations: { note },
    }),
  );
}

function sample<T>(random: Random, items: readonly T[], count: number): T[] {
  if (items.length === 0) return [];
  return Array.from({ length: Math.min(count, items.length) }, () => random.pick(items));
}
