import { createBoundedCache } from '../../core/bounded-cache.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { acceptClass, acceptClasses, acceptOfClass } from '../fetch/accept-class.ts';
import { fetchManifest } from '../fetch/fetch-manifest.ts';
import { OriginAway, type OriginLink } from '../fetch/origin-link.ts';
import type { Pool } from '../pools/pool.ts';
import type { PullRecord } from '../pull-record.ts';
import { refuseFetch } from './blob-answer.ts';
import { BlobGone, refusal, type Source } from './blob-fetch.ts';
import type { CacheStore } from './cache-store.ts';
import { type ManifestDocument, manifestKey, type TagDocument, tagKey } from './documents.ts';
import { type Exchange, purposeOf } from './exchange.ts';
import { observeFetch, type Purpose } from './fetches.ts';

export interface ManifestAnswers {
  byDigest(exchange: Exchange, place: ManifestPlace, digest: Digest): Promise<void>;
  byTag(exchange: Exchange, place: ManifestPlace, tag: string): Promise<void>;
}

export interface ManifestPlace {
  readonly source: Source;
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
/** While the line crawls the origin's word is believed for so long: else the tags alone would fill the line. */
const believedMs = 5_000;

interface Revalidated {
  readonly manifest: ManifestDocument;
  readonly cache: PullRecord['cache'];
}

interface Flight {
  /** Milliseconds since 1970. */
  readonly started: number;
  readonly answer: Promise<Revalidated>;
}

export function createManifestAnswers(deps: ManifestDeps): ManifestAnswers {
  const { store, onRecord } = deps;
  /** One question to the origin, however many ask. */
  const flights = new Map<string, Flight>();
  const slowUntil = new WeakMap<OriginLink, number>();
  /** When the origin last said over a line that crawls what a tag is; milliseconds since 1970. */
  const toldAt = createBoundedCache<string, number>(10_000);

  function together(key: string, link: OriginLink, ask: () => Promise<Revalidated>): Flight {
    const flying = flights.get(key);
    if (flying !== undefined) return flying;
    const started = Date.now();
    const landed = (answered: boolean): void => {
      flights.delete(key);
      const took = Date.now() - started;
      if (took >= patience) slowUntil.set(link, Date.now() + impatience);
      else if (answered && took < patience / 2) slowUntil.delete(link);
      if (answered && link.hurry !== undefined) toldAt.set(key, Date.now());
    };
    const answer = ask();
    // Whoever waits is told; perhaps nobody does any more.
    answer.then(
      () => landed(true),
      () => landed(false),
    );
    const flight = { started, answer };
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

  /** Of clients that accept something else, where it is something that this one accepts, too: what Docker pulled goes on being pulled by containerd. */
  function keptForOthers(repository: string, tag: string, accept: string): ManifestDocument | undefined {
    const wanted = acceptOfClass(accept)?.split(', ');
    let newest: { readonly used: number; readonly manifest: ManifestDocument } | undefined;
    for (const other of acceptClasses) {
      const key = tagKey(repository, tag, other);
      const used = store.indexedDocument(key)?.used;
      if (used === undefined || (newest !== undefined && newest.used >= used)) continue;
      const found = keptFor(key, repository);
      const type = found?.manifest.contentType.split(';', 1)[0] ?? '';
      const serves = wanted === undefined || wanted.includes('*/*') || wanted.includes(type);
      if (found !== undefined && serves) newest = { used, manifest: found.manifest };
    }
    return newest?.manifest;
  }

  /** Undefined: it is still the one with `etag`. Errors: BlobGone, PoolDenied, OriginAway. */
  async function ask(
    { source, repository }: ManifestPlace,
    question: { readonly reference: string; readonly accept: string; readonly etag?: string | undefined },
    purpose: Purpose,
  ): Promise<{ manifest: ManifestDocument; etag: string | undefined } | undefined> {
    const { reference, accept, etag } = question;
    const note = observeFetch(purpose, onRecord);
    let how: PullRecord['cache'] = 'miss';
    try {
      const { status, headers, body } = await fetchManifest(source.link, {
        repository: source.repository,
        reference,
        accept,
        ...(etag === undefined ? {} : { ifNoneMatch: etag }),
      });
      note.answered(status);
      note.bytes(body.length);
      if (status === 304 && etag !== undefined) {
        how = 'revalidated';
        return undefined;
      }
      const digest = headers['docker-content-digest'] ?? '';
      if (status !== 200 || !isDigest(digest)) throw refusal(status);
      // An error page of some proxy, with 200.
      if (!/^\s*\{/.test(body.toString('latin1', 0, 64))) throw new OriginAway('this is no manifest');
      const contentType = (headers['content-type'] ?? '').slice(0, 200);
      const manifest: ManifestDocument = { kind: 'manifest', repository, digest, contentType, body };
      const tagged = headers['etag'];
      return { manifest, etag: tagged === undefined || tagged.length > 300 ? undefined : tagged };
    } finally {
      note.end(how);
    }
  }

  async function revalidate(
    exchange: Exchange,
    place: ManifestPlace,
    tag: string,
    accept: string,
  ): Promise<Revalidated> {
    const { repository } = place;
    const kept = keptFor(tagKey(repository, tag, accept), repository);
    const question = { reference: tag, accept, etag: kept?.tag.etag };
    const fetched = await ask(place, question, purposeOf(exchange)).catch((error: unknown) => {
      if (error instanceof BlobGone && deps.onOriginMissing() === 'drop') drop(repository, tag);
      throw error;
    });
    if (fetched === undefined) {
      // Only what was kept was asked about.
      if (kept === undefined) throw new OriginAway('it answered 304 to a question without a condition');
      return { manifest: kept.manifest, cache: 'revalidated' };
    }
    const { manifest, etag } = fetched;
    const { digest, contentType } = manifest;
    if (store.indexedDocument(manifestKey(repository, digest)) === undefined) store.putDocument(manifest);
    const answer = { kind: 'tag', repository, tag, accept, digest, contentType } as const;
    store.putDocument(etag === undefined ? answer : { ...answer, etag });
    return { manifest, cache: 'miss' };
  }

  function drop(repository: string, tag: string): void {
    for (const each of acceptClasses) {
      const entry = store.indexedDocument(tagKey(repository, tag, each));
      if (entry !== undefined) store.remove(entry);
    }
  }

  /** The flight, unless it takes longer than a client with something in the cache would wait. */
  async function patiently({ started, answer }: Flight, link: OriginLink): Promise<Revalidated> {
    const slow = (slowUntil.get(link) ?? 0) > Date.now();
    const { hurry } = link;
    let timer: NodeJS.Timeout | undefined;
    const tired = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => {
          if (!slow && hurry === undefined) slowUntil.set(link, Date.now() + impatience);
          reject(new OriginAway('no answer in time'));
        },
        slow ? 0 : (hurry ?? Math.max(0, started + patience - Date.now())),
      );
    });
    try {
      return await Promise.race([answer, tired]);
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
        const { manifest } = await together(`${key}|${source.name}`, source.link, async () => {
          const question = { reference: digest, accept: '' };
          const fetched = await ask(place, question, purposeOf(exchange));
          if (fetched === undefined)
            throw new OriginAway('it answered 304 to a question without a condition');
          store.putDocument(fetched.manifest);
          return { manifest: fetched.manifest, cache: 'miss' };
        }).answer;
        exchange.cache = 'miss';
        await sendManifest(exchange, manifest);
      } catch (error) {
        await refuseFetch(exchange, error);
      }
    },
    async byTag(exchange, place, tag) {
      const { source, repository } = place;
      const accept = acceptClass(exchange.request.headers.accept);
      const key = tagKey(repository, tag, accept);
      const own = keptFor(key, repository)?.manifest;
      const kept = own ?? keptForOthers(repository, tag, accept);
      try {
        const believed = Date.now() - (toldAt.get(key) ?? 0) < believedMs;
        if (own !== undefined && source.link.hurry !== undefined && believed) {
          exchange.cache = 'revalidated';
          await sendManifest(exchange, own);
          return;
        }
        const flight = together(key, source.link, () => revalidate(exchange, place, tag, accept));
        const answer = await (kept === undefined ? flight.answer : patiently(flight, source.link));
        exchange.cache = answer.cache;
        await sendManifest(exchange, answer.manifest);
      } catch (error) {
        const dropped = error instanceof BlobGone && deps.onOriginMissing() === 'drop';
        if (!dropped && kept !== undefined && !exchange.response.headersSent) {
          exchange.cache = 'stale';
          await sendManifest(exchange, kept);
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
