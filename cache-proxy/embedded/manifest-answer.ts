import type { Digest } from '../../oci/digest.ts';
import type { Pool } from '../pools/pool.ts';
import type { PullRecord } from '../pull-record.ts';
import { refuseFetch } from './blob-answer.ts';
import { BlobGone, type BlobSource } from './blob-fetch.ts';
import type { CacheStore } from './cache-store.ts';
import { acceptClass, type ManifestDocument, manifestKey, type TagDocument, tagKey } from './documents.ts';
import { type Exchange, purposeOf } from './exchange.ts';
import { acceptAll, fetchManifest } from './manifest-fetch.ts';
import { OriginAway, type UpstreamClient } from './upstream.ts';

export interface ManifestAnswers {
  byDigest(exchange: Exchange, place: ManifestPlace, digest: Digest): Promise<void>;
  byTag(exchange: Exchange, place: ManifestPlace, tag: string): Promise<void>;
}

export interface ManifestPlace {
  readonly source: BlobSource;
  /** With `<ns>/` in front for other upstreams. */
  readonly repository: string;
}

export interface ManifestDeps {
  readonly store: CacheStore;
  readonly onRecord: (record: PullRecord) => void;
  readonly onOriginMissing: () => Pool['onOriginMissing'];
}

/** What a client waits for the origin's word about a tag that is here; then it gets what is here. */
const patience = 2500;
/** After somebody waited in vain, nobody does for so long; the origin is asked behind their backs. */
const impatience = 10_000;

interface Revalidated {
  readonly manifest: ManifestDocument;
  readonly cache: PullRecord['cache'];
}

export function createManifestAnswers(deps: ManifestDeps): ManifestAnswers {
  const { store, onRecord } = deps;
  /** One question to the origin, however many ask. */
  const flights = new Map<string, Promise<Revalidated>>();
  const slowUntil = new WeakMap<UpstreamClient, number>();

  function together(key: string, ask: () => Promise<Revalidated>): Promise<Revalidated> {
    const flying = flights.get(key);
    if (flying !== undefined) return flying;
    const flight = ask().finally(() => flights.delete(key));
    // Whoever waits is told; perhaps nobody does any more.
    flight.catch(() => {});
    flights.set(key, flight);
    return flight;
  }

  function keptFor(
    key: string,
    repository: string,
  ): { tag: TagDocument; manifest: ManifestDocument } | undefined {
    const tag = store.document(key);
    if (tag?.kind !== 'tag') return undefined;
    const manifest = store.manifest(manifestKey(repository, tag.digest));
    return manifest === undefined ? undefined : { tag, manifest };
  }

  async function revalidate(
    exchange: Exchange,
    { source, repository }: ManifestPlace,
    tag: string,
    accept: string | undefined,
  ): Promise<Revalidated> {
    const key = tagKey(repository, tag, acceptClass(accept));
    const kept = keptFor(key, repository);
    const etag = kept?.tag.etag;
    const fetched = await fetchManifest(
      {
        source,
        repository,
        accept: accept ?? acceptAll,
        purpose: purposeOf(exchange),
        ...(etag === undefined ? {} : { etag }),
      },
      onRecord,
    );
    if (fetched === undefined) {
      // Only what was kept was asked about.
      if (kept === undefined) throw new OriginAway('it answered 304 to a question without a condition');
      return { manifest: kept.manifest, cache: 'revalidated' };
    }
    const { manifest } = fetched;
    if (store.indexedDocument(manifestKey(repository, manifest.digest)) === undefined)
      store.putDocument(manifest);
    store.putDocument({
      kind: 'tag',
      repository,
      tag,
      accept: acceptClass(accept),
      digest: manifest.digest,
      contentType: manifest.contentType,
      ...(fetched.etag === undefined ? {} : { etag: fetched.etag }),
    });
    return { manifest, cache: 'miss' };
  }

  /** The flight, unless it takes longer than a client with something in the cache would wait. */
  async function patiently(flight: Promise<Revalidated>, upstream: UpstreamClient): Promise<Revalidated> {
    const wait = (slowUntil.get(upstream) ?? 0) > Date.now() ? 0 : patience;
    let timer: NodeJS.Timeout | undefined;
    const started = Date.now();
    const tired = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        if (wait > 0) slowUntil.set(upstream, Date.now() + impatience);
        reject(new OriginAway('no answer in time'));
      }, wait);
    });
    flight.then(
      () => {
        if (Date.now() - started < patience / 2) slowUntil.delete(upstream);
      },
      () => {},
    );
    try {
      return await Promise.race([flight, tired]);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    async byDigest(exchange, place, digest) {
      const { source, repository } = place;
      const key = manifestKey(repository, digest);
      const kept = store.manifest(key);
      if (kept !== undefined) {
        exchange.cache = 'hit';
        await sendManifest(exchange, kept);
        return;
      }
      try {
        const { manifest } = await together(`${key}|${source.name}`, async () => {
          const question = { source, repository, digest, accept: acceptAll, purpose: purposeOf(exchange) };
          const fetched = await fetchManifest(question, onRecord);
          if (fetched === undefined)
            throw new OriginAway('it answered 304 to a question without a condition');
          store.putDocument(fetched.manifest);
          return { manifest: fetched.manifest, cache: 'miss' };
        });
        exchange.cache = 'miss';
        await sendManifest(exchange, manifest);
      } catch (error) {
        await refuseFetch(exchange, error);
      }
    },
    async byTag(exchange, place, tag) {
      const { source, repository } = place;
      const { accept } = exchange.request.headers;
      const key = tagKey(repository, tag, acceptClass(accept));
      const kept = keptFor(key, repository);
      try {
        const flight = together(key, () => revalidate(exchange, place, tag, accept));
        const answer = await (kept === undefined ? flight : patiently(flight, source.upstream));
        exchange.cache = answer.cache;
        await sendManifest(exchange, answer.manifest);
      } catch (error) {
        if (error instanceof BlobGone && deps.onOriginMissing() === 'drop') {
          const entry = store.indexedDocument(key);
          if (entry !== undefined) store.remove(entry);
        } else if (kept !== undefined && !exchange.response.headersSent) {
          exchange.cache = 'stale';
          await sendManifest(exchange, kept.manifest);
          return;
        }
        await refuseFetch(exchange, error);
      }
    },
  };
}

async function sendManifest(exchange: Exchange, manifest: ManifestDocument): Promise<void> {
  const { request, response } = exchange;
  if (response.destroyed) return;
  const etag = `"${manifest.digest}"`;
  const headers = {
    'docker-content-digest': manifest.digest,
    'docker-distribution-api-version': 'registry/2.0',
    etag,
    'x-cache': exchange.cache.toUpperCase(),
  };
  if (request.headers['if-none-match'] === etag) {
    response.writeHead(304, headers).end();
    return;
  }
  response.writeHead(200, {
    ...headers,
    'content-type': manifest.contentType,
    'content-length': manifest.body.length,
  });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  exchange.wrote(manifest.body.length);
  response.end(manifest.body);
}
