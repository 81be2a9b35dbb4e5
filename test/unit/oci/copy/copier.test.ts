import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { type CopierOptions, createCopier } from '../../../../oci/copy/copier.ts';
import { CopyAborted, CopyFault, UnsupportedContent } from '../../../../oci/copy/copy-fault.ts';
import { type Digest, digestOf } from '../../../../oci/digest.ts';
import { OciError } from '../../../../oci/errors.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import { createMemoryRegistry } from '../../../../oci/memory-registry.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { type PushedRepository, pushContent, type RepositoryContent } from '../../../helpers/content.ts';

const large = randomBytes(1024 * 1024);

const content = {
  blobs: { config: '{"os":"linux"}', small: 'small layer', large },
  manifests: {
    amd64: { config: 'config', layers: ['small', 'large'] },
    arm64: { config: 'config', layers: ['small'] },
    index: { manifests: ['amd64', 'arm64'] },
    signature: { subject: 'index', artifactType: 'application/vnd.example.signature' },
    timestamp: { subject: 'signature', artifactType: 'application/vnd.example.timestamp' },
    childSignature: { subject: 'arm64', artifactType: 'application/vnd.example.signature' },
  },
  tags: { '1.0': 'index', latest: 'index' },
} satisfies RepositoryContent;

interface Fixture {
  readonly source: Registry;
  readonly target: Registry;
  readonly pushed: PushedRepository;
}

async function fixture(): Promise<Fixture> {
  const source = createMemoryRegistry();
  const pushed = await pushContent(source, { 'team/app': content });
  return { source, target: createMemoryRegistry(), pushed: pushed['team/app'] };
}

/** The registry with some calls replaced, and every call written down. */
function watched(
  registry: Registry,
  changes: Partial<Registry> = {},
): { registry: Registry; calls: string[] } {
  const calls: string[] = [];
  const all = { ...registry, ...changes };
  const wrapped = Object.fromEntries(
    Object.entries(all).map(([name, method]) => [
      name,
      (...args: unknown[]): unknown => {
        calls.push(name);
        return (method as (...given: unknown[]) => unknown)(...args);
      },
    ]),
  );
  return { registry: wrapped as unknown as Registry, calls };
}

const request = {
  from: { repository: 'team/app', reference: '1.0' },
  to: { repository: 'copies/app', tag: '1.0' },
};

function copier(fixed: Pick<Fixture, 'source' | 'target'>, more: Partial<CopierOptions> = {}) {
  return createCopier({ ...fixed, retryDelayMs: 1, ...more });
}

describe('copying an image', () => {
  it('brings an index with all its platforms, byte for byte', async () => {
    const { source, target, pushed } = await fixture();

    const result = await copier({ source, target }, { referrers: false }).copyImage(request);

    expect(result).toMatchObject({ digest: pushed.manifests['index']?.digest, missing: [], kept: false });
    expect(result.counts).toMatchObject({
      manifests: { copied: 3, present: 0 },
      blobs: { copied: 3, mounted: 0, present: 2 },
      referrers: 0,
    });
    const index = await target.getManifest('copies/app', '1.0');
    expect(index.bytes).toEqual(pushed.manifests['index']?.bytes);
    const child = await target.getManifest('copies/app', pushed.manifests['amd64']?.digest ?? '');
    expect(child.bytes).toEqual(pushed.manifests['amd64']?.bytes);
    expect(await blob(target, 'copies/app', digestOf(large))).toEqual(large);
  });

  it('brings signatures, also those of children and of signatures', async () => {
    const { source, target, pushed } = await fixture();

    const result = await copier({ source, target }).copyImage(request);

    expect(result.counts.referrers).toBe(3);
    for (const [subject, referrer] of [
      ['index', 'signature'],
      ['signature', 'timestamp'],
      ['arm64', 'childSignature'],
    ] as const) {
      const digest = pushed.manifests[subject]?.digest as Digest;
      const { entries } = await target.listReferrers('copies/app', digest, { limit: 10 });
      expect(entries.map((entry) => entry.digest)).toEqual([pushed.manifests[referrer]?.digest]);
    }
  });

  it("brings cosign's tags where it is asked to", async () => {
    const { source, target, pushed } = await fixture();
    const tag = `sha256-${pushed.manifests['arm64']?.digest.slice(7)}.sig`;
    const bytes = pushed.manifests['timestamp']?.bytes as Buffer;
    await source.putManifest('team/app', tag, bytes, mediaTypes.ociManifest);

    await copier({ source, target }).copyImage({ ...request, companions: true });

    expect((await target.getManifest('copies/app', tag)).bytes).toEqual(bytes);
  });

  it('takes one platform of an index when asked to, and says which there are when it has none such', async () => {
    const { source, target, pushed } = await fixture();
    const [amd64, arm64] = ['amd64', 'arm64'].map((name) => pushed.manifests[name]?.descriptor);
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: [
          { ...amd64, platform: { os: 'linux', architecture: 'amd64' } },
          { ...arm64, platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
        ],
      }),
    );
    await source.putManifest('team/app', 'multi', index, mediaTypes.ociIndex);
    const copy = (architecture: string) =>
      copier({ source, target }).copyImage({
        from: { repository: 'team/app', reference: 'multi' },
        to: { repository: 'copies/app', tag: 'one' },
        platform: { os: 'linux', architecture },
      });

    expect((await copy('arm64')).digest).toBe(arm64?.digest);
    expect((await target.resolveManifest('copies/app', 'one')).digest).toBe(arm64?.digest);
    await expect(copy('s390x')).rejects.toThrow('no linux/s390x: it has linux/amd64, linux/arm64/v8');
  });

  it('does nothing but look when everything is there', async () => {
    const { source, target } = await fixture();
    await copier({ source, target }).copyImage(request);
    const again = watched(target);
    const origin = watched(source);

    const { counts } = await copier({ source: origin.registry, target: again.registry }).copyImage(request);

    expect(counts.manifests).toEqual({ copied: 0, present: 6 });
    expect(counts.blobs.copied + counts.blobs.mounted).toBe(0);
    expect(new Set(again.calls)).toEqual(new Set(['resolveManifest']));
    expect(origin.calls).not.toContain('getBlob');
  });

  it('brings what an image has lost, when asked to look', async () => {
    const { source, target } = await fixture();
    await copier({ source, target }).copyImage(request);
    await target.deleteBlob('copies/app', digestOf(large));
    await copier({ source, target }).copyImage(request);
    await expect(target.resolveBlob('copies/app', digestOf(large))).rejects.toThrow(OciError);

    const { counts } = await copier({ source, target }, { checkBlobs: true }).copyImage(request);

    expect(counts.blobs.copied).toBe(1);
    expect(await blob(target, 'copies/app', digestOf(large))).toEqual(large);
  });

  it('sets further tags of what it has copied without a second walk', async () => {
    const { source, target } = await fixture();
    const one = copier({ source, target });
    await one.copyImage(request);
    const before = watched(target);
    const origin = watched(source);
    const both = copier({ source: origin.registry, target: before.registry });
    await both.copyImage(request);
    const calls = origin.calls.length;

    await both.copyImage({
      from: { repository: 'team/app', reference: 'latest' },
      to: { repository: 'copies/app', tag: 'latest' },
    });

    expect(origin.calls.slice(calls)).toEqual(['getManifest']);
    expect((await target.listTags('copies/app', { limit: 10 })).entries).toEqual(['1.0', 'latest']);
  });

  it('mounts within one registry, and uploads each blob once however many repositories want it', async () => {
    const { source, target } = await fixture();
    const one = watched(source);
    const within = copier({ source: one.registry, target: one.registry }, { sameRegistry: true });

    const mounted = await within.copyImage(request);

    expect(mounted.counts.blobs.copied).toBe(0);
    expect(one.calls).not.toContain('getBlob');
    const origin = watched(source);
    const across = copier({ source: origin.registry, target });
    await Promise.all(
      ['a/one', 'a/two', 'a/three'].map((repository) =>
        across.copyImage({ ...request, to: { repository, tag: '1.0' } }),
      ),
    );
    // Three blobs, and the empty config of the signatures.
    expect(origin.calls.filter((call) => call === 'getBlob')).toHaveLength(4);
  });

  it('writes in an order that leaves no tag without its image, whatever fails', async () => {
    const { source, pushed } = await fixture();
    const total = watched(createMemoryRegistry());
    await copier({ source, target: total.registry }).copyImage(request);
    for (let failing = 1; failing < total.calls.length; failing += 1) {
      const target = createMemoryRegistry();
      let count = 0;
      const refusing = Object.fromEntries(
        Object.entries(target).map(([name, method]) => [
          name,
          async (...args: unknown[]): Promise<unknown> => {
            count += 1;
            if (count >= failing) throw new OciError('DENIED');
            return (method as (...given: unknown[]) => unknown)(...args);
          },
        ]),
      ) as unknown as Registry;

      await expect(copier({ source, target: refusing }).copyImage(request)).rejects.toThrow(CopyFault);

      await expect(target.getManifest('copies/app', '1.0')).rejects.toThrow(OciError);
      const digest = pushed.manifests['index']?.digest ?? '';
      await expect(target.getManifest('copies/app', digest)).rejects.toThrow(OciError);
    }
  });

  it('copies an index whose child is nowhere, and says so; one that could not be read is a failure', async () => {
    const { source, target, pushed } = await fixture();
    const gone = pushed.manifests['arm64']?.digest as Digest;
    const without = (error: Error): Registry => ({
      ...source,
      async getManifest(repository, reference) {
        if (reference === gone) throw error;
        return source.getManifest(repository, reference);
      },
    });

    const broken = copier({ source: without(new OciError('DIGEST_INVALID')), target }).copyImage(request);
    await expect(broken).rejects.toThrow(CopyFault);
    const sparse = await copier({ source: without(new OciError('MANIFEST_UNKNOWN')), target }).copyImage(
      request,
    );

    expect(sparse.missing).toEqual([gone]);
    expect((await target.resolveManifest('copies/app', '1.0')).digest).toBe(sparse.digest);
  });

  it('names side and blob of what is missing', async () => {
    const { source, target } = await fixture();
    await source.deleteBlob('team/app', digestOf(large));

    const error = await copier({ source, target })
      .copyImage(request)
      .then(
        () => undefined,
        (fault: unknown) => fault as CopyFault,
      );

    expect(error).toMatchObject({ name: 'CopyFault', side: 'source', subject: `blob ${digestOf(large)}` });
  });

  it('leaves layers that stay at their own address', async () => {
    const { source, target } = await fixture();
    const config = Buffer.from('{}');
    await source.putBlob('team/windows', digestOf(config), config);
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.dockerManifest,
        config: { mediaType: mediaTypes.dockerConfig, digest: digestOf(config), size: 2 },
        layers: [{ mediaType: mediaTypes.dockerForeignLayer, digest: digestOf('base'), size: 4 }],
      }),
    );
    await source.putManifest('team/windows', '1', bytes, mediaTypes.dockerManifest);

    const { counts } = await copier({ source, target }).copyImage({
      from: { repository: 'team/windows', reference: '1' },
      to: { repository: 'team/windows', tag: '1' },
    });

    expect(counts.blobs).toEqual({ copied: 1, mounted: 0, present: 0 });
  });

  it('does not take schema 1 for an image', async () => {
    const { source, target } = await fixture();
    const old: Registry = {
      ...source,
      getManifest: async () => {
        const bytes = Buffer.from('{"schemaVersion": 1, "name": "team/app"}');
        return {
          bytes,
          descriptor: { mediaType: 'application/json', digest: digestOf(bytes), size: bytes.length },
        };
      },
    };

    await expect(copier({ source: old, target }).copyImage(request)).rejects.toThrow(UnsupportedContent);
  });

  it('keeps a tag that the target has moved, when asked to', async () => {
    const { source, target } = await fixture();
    const other = await pushContent(target, {
      'copies/app': { manifests: { other: { annotations: { a: 'b' } } }, tags: { '1.0': 'other' } },
    });

    const { kept } = await copier({ source, target }).copyImage({ ...request, keepTags: true });

    expect(kept).toBe(true);
    const { digest } = await target.resolveManifest('copies/app', '1.0');
    expect(digest).toBe(other['copies/app'].manifests.other.digest);
  });

  it('changes nothing in a dry run, and counts what it would do', async () => {
    const { source, target } = await fixture();
    const dry = await copier({ source, target }, { dryRun: true }).copyImage(request);
    expect((await target.listRepositories({ limit: 10 })).entries).toEqual([]);

    const real = await copier({ source, target }).copyImage(request);

    expect(dry.counts).toEqual(real.counts);
  });

  it('brings blobs again that were deleted between look and push', async () => {
    const { source, target } = await fixture();
    let deleted = false;
    const collected: Registry = {
      ...target,
      async putManifest(...args) {
        if (!deleted) await target.deleteBlob('copies/app', digestOf(large));
        deleted = true;
        return target.putManifest(...args);
      },
    };

    await copier({ source, target: collected }).copyImage(request);

    expect(await blob(target, 'copies/app', digestOf(large))).toEqual(large);
  });

  it('keeps the list of referrers itself on a registry that does not', async () => {
    const { source, target, pushed } = await fixture();
    const old: Registry = {
      ...target,
      async putManifest(...args) {
        const { subject: _, ...rest } = await target.putManifest(...args);
        return rest;
      },
    };

    await copier({ source, target: old }).copyImage(request);

    const index = pushed.manifests['index']?.digest ?? '';
    const { bytes } = await target.getManifest('copies/app', index.replace(':', '-'));
    expect(JSON.parse(bytes.toString())).toMatchObject({
      mediaType: mediaTypes.ociIndex,
      manifests: [
        {
          digest: pushed.manifests['signature']?.digest,
          artifactType: 'application/vnd.example.signature',
        },
      ],
    });
  });
});

describe('a transfer that breaks', () => {
  it('goes on where the upload session stands', async () => {
    const { source, target } = await fixture();
    const ranges: unknown[] = [];
    const origin: Registry = {
      ...source,
      async getBlob(repository, digest, range) {
        if (digest === digestOf(large)) ranges.push(range);
        const found = await source.getBlob(repository, digest, range);
        return { size: found.size, body: inPieces(found.body) };
      },
    };
    let breaks = 3;
    const flaky: Registry = {
      ...target,
      async writeUpload(repository, id, body, options) {
        if (breaks === 0) return target.writeUpload(repository, id, body, options);
        breaks -= 1;
        await target.writeUpload(repository, id, Readable.from([await firstBytes(body, 100_000)]));
        body.destroy();
        throw new OciError('UNAVAILABLE');
      },
    };
    let moved = 0;
    const onProgress: CopierOptions['onProgress'] = (event) => {
      moved += event.moved ?? 0;
    };

    await copier({ source: origin, target: flaky }, { onProgress }).copyImage(request);

    expect(await blob(target, 'copies/app', digestOf(large))).toEqual(large);
    const end = large.length - 1;
    expect(ranges).toEqual([
      undefined,
      { start: 100_000, end },
      { start: 200_000, end },
      { start: 300_000, end },
    ]);
    // All blobs, each byte once: what was sent and not kept is taken back.
    expect(moved).toBe(large.length + 'small layer{"os":"linux"}{}'.length);
  });

  it('starts again when the session is gone, and where the source serves no ranges', async () => {
    const { source, target } = await fixture();
    const whole: Registry = {
      ...source,
      async getBlob(repository, digest, range) {
        if (range !== undefined) throw new OciError('UNAVAILABLE', { message: 'does not serve ranges' });
        return source.getBlob(repository, digest);
      },
    };
    let breaks = 0;
    const flaky: Registry = {
      ...target,
      async writeUpload(repository, id, body, options) {
        breaks += 1;
        if (breaks > 2) return target.writeUpload(repository, id, body, options);
        await target.writeUpload(repository, id, Readable.from([await firstBytes(body, 1000)]));
        if (breaks === 2) await target.cancelUpload(repository, id);
        throw new OciError('UNAVAILABLE');
      },
    };

    await copier({ source: whole, target: flaky }).copyImage(request);

    expect(await blob(target, 'copies/app', digestOf(large))).toEqual(large);
  });

  it('ends with a fault of the source when its bytes are wrong, and leaves no session', async () => {
    const { source, target } = await fixture();
    const damaged: Registry = {
      ...source,
      async getBlob(repository, digest, range) {
        if (digest !== digestOf(large)) return source.getBlob(repository, digest, range);
        async function* bytes(): AsyncGenerator<Buffer> {
          yield large.subarray(0, 500_000);
          await Promise.resolve();
          throw new OciError('DIGEST_INVALID', { message: 'damaged on disk' });
        }
        return { size: large.length, body: Readable.from(bytes(), { objectMode: false }) };
      },
    };
    const sessions = watched(target);

    const copying = copier({ source: damaged, target: sessions.registry }).copyImage(request);

    await expect(copying).rejects.toMatchObject({
      side: 'source',
      message: expect.stringContaining('damaged on disk'),
    });
    expect(sessions.calls.filter((call) => call === 'cancelUpload')).toHaveLength(1);
  });

  it('gives up after some attempts, and at once on a side that never answered', async () => {
    const { source, target } = await fixture();
    let asked = 0;
    const down: Registry = {
      ...target,
      async resolveBlob() {
        asked += 1;
        throw new OciError('UNAVAILABLE');
      },
    };
    await expect(copier({ source, target: down }).copyImage(request)).rejects.toMatchObject({
      side: 'target',
    });
    expect(asked).toBeGreaterThanOrEqual(6);

    let first = 0;
    const nowhere: Registry = {
      ...source,
      async getManifest() {
        first += 1;
        throw new OciError('UNAVAILABLE');
      },
    };
    await expect(copier({ source: nowhere, target }).copyImage(request)).rejects.toMatchObject({
      side: 'source',
    });
    expect(first).toBe(1);
  });

  it('ends at once when it is interrupted, cancels the session and sets no tag', async () => {
    const { source, target } = await fixture();
    const controller = new AbortController();
    const endless: Registry = {
      ...source,
      async getBlob(repository, digest, range) {
        if (digest !== digestOf(large)) return source.getBlob(repository, digest, range);
        controller.abort();
        return { size: large.length, body: new Readable({ read() {} }) };
      },
    };
    const sessions = watched(target);

    const copying = copier({ source: endless, target: sessions.registry }, { signal: controller.signal });

    await expect(copying.copyImage(request)).rejects.toThrow(CopyAborted);
    expect(sessions.calls).not.toContain('putManifest');
    const opened = sessions.calls.filter((call) => call === 'startUpload').length;
    expect(sessions.calls.filter((call) => call === 'cancelUpload')).toHaveLength(opened);
  });
});

async function blob(registry: Registry, repository: string, digest: Digest): Promise<Buffer> {
  const { body } = await registry.getBlob(repository, digest);
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function inPieces(body: Readable): Readable {
  async function* pieces(): AsyncGenerator<Buffer> {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; at += 50_000) yield chunk.subarray(at, at + 50_000);
    }
  }
  return Readable.from(pieces(), { objectMode: false });
}

async function firstBytes(body: Readable, count: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size >= count) break;
  }
  return Buffer.concat(chunks).subarray(0, count);
}
