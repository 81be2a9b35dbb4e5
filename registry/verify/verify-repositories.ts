import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { isDigest } from '../../oci/digest.ts';
import { isRepositoryName, isTag } from '../../oci/reference.ts';
import { walkKeys, walkRepository } from '../collect/walk.ts';
import { catalogKey, catalogPrefix, type RepositoryKind, repositoryPrefix } from '../store/paths.ts';
import { tombstoneSize } from '../store/record.ts';
import { checkAttempt, checkLink, checkReverse, checkTag } from './check-entries.ts';
import { checkManifest } from './check-manifest.ts';
import type { Check } from './examiner.ts';
import { type Finding, finding } from './finding.ts';
import { forEachParallel } from './for-each-parallel.ts';
import type { Lookups } from './lookups.ts';
import type { Verification } from './verification.ts';

const root = 'repos/';
const kinds: readonly RepositoryKind[] = ['_blobs', '_manifests', '_mrefs', '_referrers', '_tags', '_tagsof'];

/** Everything below each repository, found by its keys and not by the catalog, then the catalog. */
export async function verifyRepositories(verification: Verification): Promise<void> {
  const { context, counts, examiner, parallel } = verification;
  const work = findRepositories(context.store, (key) => verification.report(finding('unknown-key', key)));
  await forEachParallel(items(verification, work), parallel, async ({ check, end }) => {
    if (check !== undefined) await examiner.examine(check);
    await end?.();
  });
  await forEachParallel(
    walkKeys(context.store, { prefix: catalogPrefix }),
    parallel,
    async ({ key, size }) => {
      if (size === tombstoneSize) {
        counts.tombstones++;
        return;
      }
      const repository = key.slice(catalogPrefix.length);
      await examiner.examine((look) => checkCatalog(context.store, repository, look));
    },
  );
}

interface Item {
  readonly check?: Check;
  readonly end?: () => Promise<void>;
}

/** One stream over all repositories, so that a thousand small ones and one large one are looked at with equal haste. */
async function* items(verification: Verification, repositories: AsyncIterable<string>): AsyncGenerator<Item> {
  const { context, counts, examiner } = verification;
  for await (const repository of repositories) {
    counts.repositories++;
    verification.progress('repositories');
    let content = false;
    for (const kind of kinds) {
      for await (const { key: entry, size } of walkRepository(context, repository, kind)) {
        verification.progress('repositories');
        if (size === tombstoneSize && (kind === '_blobs' || kind === '_manifests' || kind === '_tags')) {
          counts.tombstones++;
          continue;
        }
        content ||= kind === '_manifests' || kind === '_tags';
        if (kind === '_manifests') counts.manifests++;
        else if (kind === '_tags') counts.tags++;
        else if (kind === '_blobs') counts.links++;
        else if (kind === '_mrefs') counts.references++;
        yield { check: checkOf(verification, repository, kind, entry) };
      }
    }
    yield { check: () => checkKinds(context.store, repository) };
    if (content) yield { end: () => examiner.examine((look) => checkListed(repository, look)) };
  }
}

function checkOf(verification: Verification, repository: string, kind: RepositoryKind, entry: string): Check {
  const { context } = verification;
  const unknown = async (): Promise<Finding[]> => [
    finding('unknown-key', `${repositoryPrefix(repository, kind)}${entry}`),
  ];
  switch (kind) {
    case '_manifests':
      return isDigest(entry) ? (look) => checkManifest(context, repository, entry, look) : unknown;
    case '_tags':
      return isTag(entry) ? (look) => checkTag(context, repository, entry, look) : unknown;
    case '_blobs':
      return (look) => checkLink(repository, entry, look);
    case '_tagsof':
      return (look) => checkReverse(repository, entry, look);
    case '_mrefs':
    case '_referrers':
      return (look) => checkAttempt(repository, kind, entry, look);
  }
}

async function checkKinds(store: ObjectStore, repository: string): Promise<Finding[]> {
  const found: Finding[] = [];
  let startAfter: string | undefined;
  do {
    const page = await store.list({
      prefix: `${root}${repository}/_`,
      delimiter: '/',
      ...(startAfter === undefined ? {} : { startAfter }),
    });
    for (const { key } of page.objects) found.push(finding('unknown-key', key));
    for (const prefix of page.prefixes) {
      const known = kinds.some((kind) => prefix === repositoryPrefix(repository, kind));
      if (!known) found.push(finding('unknown-key', prefix));
    }
    startAfter = page.next;
  } while (startAfter !== undefined);
  return found;
}

async function checkListed(repository: string, look: Lookups): Promise<Finding[]> {
  const { header } = await look.record(catalogKey(repository));
  return header === undefined ? [finding('unlisted-repository', `${root}${repository}/`)] : [];
}

async function checkCatalog(store: ObjectStore, repository: string, look: Lookups): Promise<Finding[]> {
  const key = catalogKey(repository);
  if (!isRepositoryName(repository)) return [finding('unknown-key', key)];
  const { header } = await look.record(key);
  if (header === undefined) return [];
  for (const kind of ['_manifests', '_tags', '_blobs'] as const) {
    for await (const { size } of walkRepository({ store }, repository, kind)) {
      if (size !== tombstoneSize) return [];
    }
  }
  return [finding('empty-repository', key, '', header.nonce)];
}

/** Names of all repositories that have keys, whether or not the catalog has them; one short LIST for each. */
async function* findRepositories(
  store: ObjectStore,
  onUnknown: (key: string) => void,
): AsyncGenerator<string> {
  let startAfter: string = root;
  for (;;) {
    const page = await store.list({ prefix: root, startAfter, limit: 100 });
    let jumped = false;
    for (const { key } of page.objects) {
      const end = key.indexOf('/_');
      const repository = end < 0 ? '' : key.slice(root.length, end);
      if (!isRepositoryName(repository)) {
        onUnknown(key);
        startAfter = key;
        continue;
      }
      yield repository;
      // '`' is the character behind '_': past everything of this repository, and before those that are named below it.
      startAfter = `${root}${repository}/\``;
      jumped = true;
      break;
    }
    if (jumped) continue;
    if (page.next === undefined) return;
    startAfter = page.next;
  }
}
