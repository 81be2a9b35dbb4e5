import { mediaTypes } from '../../oci/media-types.ts';
import type { Http } from './fault-http.ts';
import {
  createFaultModel,
  type KnownBlob,
  type KnownManifest,
  manifestOf,
  unexpected,
} from './fault-model.ts';
import { createContent, type Random } from './fault-random.ts';
import { planUpload, resumeUpload, runUpload } from './fault-upload.ts';

/** A client of the registry that does one thing after the other and knows what it may rely on. */
export interface FaultClient {
  /** One operation, chosen at random. Errors: ConnectionLost; then `settle` must run before the next step. */
  step(): Promise<void>;
  /** Looks how what was cut off has ended, and goes on with it. Errors: ConnectionLost; then it must run again. */
  settle(): Promise<void>;
  /** Some of what was acknowledged long ago. */
  check(): Promise<void>;
  checkAll(): Promise<void>;
  /** Counts of operations that were acknowledged, by name. */
  readonly acknowledged: Map<string, number>;
  /** Upload sessions that were continued after a failure. */
  readonly resumed: () => number;
}

const tagPool = 25;

export function createFaultClient(http: Http, name: string, random: Random): FaultClient {
  const model = createFaultModel(http, `kill/${name}`);
  const mounted = `kill/${name}-mounted`;
  const acknowledged = new Map<string, number>();
  let resumed = 0;
  let serial = 0;
  let unsettled: (() => Promise<void>) | undefined;

  const count = (what: string): void => void acknowledged.set(what, (acknowledged.get(what) ?? 0) + 1);
  const there = (): KnownBlob[] =>
    [...model.blobs.values()].filter(
      ({ state, repository }) => state === 'there' && repository === model.repository,
    );
  const standing = (): KnownManifest[] =>
    [...model.manifests.values()].filter(({ state }) => state === 'there');
  const nextName = (): string => `${name}-${serial++}`;

  async function putBlob(): Promise<void> {
    // Up to 8 KiB lie inside of the pointer object, more in an object of their own.
    const size = random.chance(0.3) ? random.below(9_000) : random.below(400_000);
    const blob = model.addBlob(model.repository, createContent(nextName(), size), 'unknown');
    const { content } = blob;
    const path = `/v2/${model.repository}/blobs/uploads/?digest=${content.digest}`;
    const answer = await http.send('POST', path, {
      headers: { 'content-type': 'application/octet-stream' },
      body: content.bytes(),
    });
    if (answer.status !== 201) throw unexpected('a blob in one request', answer);
    blob.state = 'there';
    count('blob in one request');
  }

  async function upload(): Promise<void> {
    const size = random.chance(0.02) ? random.between(66, 80) * 2 ** 20 : random.between(40_000, 6_000_000);
    const planned = planUpload(model.repository, createContent(nextName(), size), random);
    const done = (): void => {
      model.addBlob(model.repository, planned.content, 'there');
      count(planned.chunk === undefined ? 'streamed upload' : 'chunked upload');
    };
    unsettled = async () => {
      if (!(await resumeUpload(http, planned))) return;
      done();
      await model.checkBlob(model.addBlob(model.repository, planned.content, 'there'));
      resumed++;
    };
    await runUpload(http, planned);
    done();
  }

  async function mount(): Promise<void> {
    const source = random.pick(there());
    const blob = model.addBlob(mounted, source.content, 'unknown');
    const query = `mount=${source.content.digest}&from=${model.repository}`;
    const answer = await http.send('POST', `/v2/${mounted}/blobs/uploads/?${query}`, {
      body: Buffer.alloc(0),
    });
    if (answer.status !== 201) throw unexpected(`a mount of ${source.content.digest}`, answer);
    blob.state = 'there';
    source.used = true;
    count('mount');
  }

  async function putManifest(subject?: KnownManifest): Promise<void> {
    const blobs = Array.from({ length: random.between(1, 3) }, () => random.pick(there()));
    for (const blob of blobs) blob.used = true;
    const bytes = manifestOf(
      blobs.map(({ content }) => content),
      nextName(),
      subject,
    );
    const manifest = model.addManifest(bytes, subject?.digest);
    const tags = Array.from({ length: subject === undefined ? random.between(1, 2) : 0 }, pickTag);
    for (const tag of tags) model.allowTag(tag, manifest.digest);
    const [only] = tags;
    const path =
      tags.length === 1 && only !== undefined && random.chance(0.7)
        ? only
        : `${manifest.digest}${tags.length > 0 ? '?' : ''}${tags.map((tag) => `tag=${tag}`).join('&')}`;
    const answer = await http.send('PUT', `/v2/${model.repository}/manifests/${path}`, {
      headers: { 'content-type': mediaTypes.ociManifest },
      body: bytes,
    });
    if (answer.status !== 201) throw unexpected(`manifest ${path}`, answer);
    manifest.state = 'there';
    for (const tag of tags) model.setTag(tag, manifest.digest);
    count(subject === undefined ? 'manifest with tags' : 'referrer');
  }

  async function deleteTag(): Promise<void> {
    const tag = random.pick([...model.tags.keys()]);
    const [known] = model.tags.get(tag) ?? [];
    model.allowTag(tag, undefined);
    const answer = await http.send('DELETE', `/v2/${model.repository}/manifests/${tag}`);
    if (answer.status !== (known === undefined ? 404 : 202)) throw unexpected(`deletion of ${tag}`, answer);
    model.setTag(tag, undefined);
    count('tag deletion');
  }

  async function deleteManifest(): Promise<void> {
    const manifest = random.pick(standing());
    const tags = [...model.tags].filter(([, allowed]) => allowed.has(manifest.digest)).map(([tag]) => tag);
    manifest.state = 'unknown';
    for (const tag of tags) model.allowTag(tag, undefined);
    const answer = await http.send('DELETE', `/v2/${model.repository}/manifests/${manifest.digest}`);
    if (answer.status !== 202) throw unexpected(`deletion of ${manifest.digest}`, answer);
    manifest.state = 'gone';
    for (const tag of tags) model.setTag(tag, undefined);
    count('manifest deletion');
  }

  async function deleteBlob(): Promise<void> {
    const free = there().filter(({ used }) => !used);
    if (free.length === 0) return;
    const blob = random.pick(free);
    blob.state = 'unknown';
    const answer = await http.send('DELETE', `/v2/${model.repository}/blobs/${blob.content.digest}`);
    if (answer.status !== 202) throw unexpected(`deletion of ${blob.content.digest}`, answer);
    blob.state = 'gone';
    count('blob deletion');
  }

  const pickTag = (): string => `t${random.below(tagPool)}`;

  async function step(): Promise<void> {
    unsettled = undefined;
    if (there().length < 3) return putBlob();
    if (standing().length < 2) return putManifest();
    const dice = random.below(100);
    if (dice < 20) return putBlob();
    if (dice < 50) return upload();
    if (dice < 75) return putManifest();
    if (dice < 82) return putManifest(random.pick(standing()));
    if (dice < 88) return mount();
    if (dice < 94) return deleteTag();
    if (dice < 97) return deleteManifest();
    return deleteBlob();
  }

  return {
    step,
    async settle() {
      await model.checkUncertain();
      await unsettled?.();
      unsettled = undefined;
    },
    check: () => model.checkSample(random, 4),
    checkAll: () => model.checkAll(),
    acknowledged,
    resumed: () => resumed,
  };
}
