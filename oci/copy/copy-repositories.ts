import type { Digest } from '../digest.ts';
import { isOciError } from '../errors.ts';
import { isRepositoryName, isTag } from '../reference.ts';
import type { Lister } from '../registry.ts';
import { type Copier, type CopierOptions, createCopier } from './copier.ts';
import { CopyAborted, CopyFault, isTransient, UnsupportedContent } from './copy-fault.ts';
import { addCounts, type CopyCounts, createCounts } from './counts.ts';

export interface CopyRepositoriesOptions extends CopierOptions {
  readonly source: CopierOptions['source'] & Pick<Lister, 'listTags'>;
  /** Names as they came from outside: what is no repository name is reported. */
  readonly repositories: readonly RepositoryCopy[];
  /** Further manifests to copy by their digest alone. */
  readonly listManifests?: (repository: string) => AsyncIterable<Digest>;
  /** Images on their way at the same time. Default 4. */
  readonly images?: number;
  /** Tags that the target has with another digest stay as they are, and are reported. */
  readonly keepTags?: boolean;
  /** A repository has been gone through. */
  readonly onRepository?: (done: RepositoryReport) => void;
}

export interface RepositoryCopy {
  readonly from: string;
  readonly to: string;
}

export interface RepositoryReport extends RepositoryCopy {
  readonly images: number;
  readonly failures: number;
  readonly counts: CopyCounts;
}

export interface CopyReport {
  readonly repositories: number;
  /** Tags, and manifests without one, that are on the target now. */
  images: number;
  readonly counts: CopyCounts;
  readonly failures: readonly CopyFailure[];
  /** Of a kind that is not copied, left as they were, or copied without something that is nowhere. */
  readonly notices: readonly CopyNotice[];
  /** Failures and notices beyond those that are listed. */
  readonly unlisted: number;
  /** Why the run ended early: nothing more could have been copied. */
  readonly ended?: CopyFault | CopyAborted;
}

export interface CopyFailure {
  /** `team/app:1.0`, `team/app@sha256:…`, or a repository where its tags could not be listed. */
  readonly image: string;
  readonly side: 'source' | 'target';
  readonly reason: string;
}

export interface CopyNotice {
  readonly image: string;
  readonly notice: string;
}

/** Of failures and of notices. */
const maxListed = 10_000;
/** A source that keeps silent so often in a row does so for all that is left. */
const maxSilences = 3;

interface Item extends RepositoryCopy {
  readonly reference: string;
  readonly report: RepositoryProgress;
}

interface RepositoryProgress extends RepositoryReport {
  images: number;
  failures: number;
  open: number;
  listed: boolean;
}

/** Copies all tags of many repositories. What cannot be copied is reported, and the rest goes on. Errors: none of its own. */
export async function copyRepositories(options: CopyRepositoriesOptions): Promise<CopyReport> {
  const copier = createCopier(options);
  const counts = createCounts();
  const failures: CopyFailure[] = [];
  const notices: CopyNotice[] = [];
  const refused = new Set<string>();
  let ended: CopyFault | CopyAborted | undefined;
  let images = 0;
  let unlisted = 0;
  let silences = 0;

  const items = listItems();
  const worker = async (): Promise<void> => {
    while (ended === undefined) {
      const next = await items.next();
      if (next.done === true) return;
      await copyItem(copier, next.value);
    }
  };
  await Promise.all(Array.from({ length: options.images ?? 4 }, worker));
  return {
    repositories: options.repositories.length,
    images,
    counts,
    failures,
    notices,
    unlisted,
    ...(ended === undefined ? {} : { ended }),
  };

  async function* listItems(): AsyncGenerator<Item, void> {
    for (const repository of options.repositories) {
      const report = {
        ...repository,
        images: 0,
        failures: 0,
        counts: createCounts(),
        open: 0,
        listed: false,
      };
      if (isUsable(repository)) {
        try {
          for await (const reference of listReferences(repository.from)) {
            if (ended !== undefined) return;
            report.open += 1;
            yield { ...repository, reference, report };
          }
        } catch (error) {
          const known = error instanceof CopyFault || error instanceof CopyAborted;
          fail(repository.from, known ? error : new CopyFault('source', 'manifests', error), report);
        }
      }
      report.listed = true;
      settle(report);
    }
  }

  async function* listReferences(repository: string): AsyncGenerator<string> {
    for await (const tag of listTags(repository)) {
      if (isTag(tag)) yield tag;
      else
        fail(`${repository}:${tag}`, new CopyFault('source', 'tag', new Error('no tag that may be pushed')));
    }
    // After the tags: most of these came along with them.
    if (options.listManifests !== undefined) yield* options.listManifests(repository);
  }

  async function* listTags(repository: string): AsyncGenerator<string> {
    let last: string | undefined;
    do {
      const page = await copier.ask('source', `tags of ${repository}`, () =>
        options.source.listTags(repository, { limit: 1000, ...(last === undefined ? {} : { last }) }),
      );
      yield* page.entries;
      last = page.next === last ? undefined : page.next;
    } while (last !== undefined);
  }

  async function copyItem(by: Copier, { from, to, reference, report }: Item): Promise<void> {
    const byDigest = reference.includes(':');
    const image = `${from}${byDigest ? '@' : ':'}${reference}`;
    try {
      if (refused.has(to)) return;
      const copied = await by.copyImage({
        from: { repository: from, reference },
        to: { repository: to, ...(byDigest ? {} : { tag: reference }) },
        keepTags: options.keepTags === true,
      });
      silences = 0;
      addCounts(counts, copied.counts);
      addCounts(report.counts, copied.counts);
      if (copied.kept) note(image, 'left as it is: the target has this tag with another digest');
      else {
        images += 1;
        report.images += 1;
      }
      for (const digest of copied.missing)
        note(image, `copied without ${digest}, which the source does not have`);
    } catch (error) {
      if (error instanceof UnsupportedContent) note(image, error.message);
      else fail(image, error, report, to);
    } finally {
      report.open -= 1;
      settle(report);
    }
  }

  function settle(report: RepositoryProgress): void {
    if (report.listed && report.open === 0 && ended === undefined) options.onRepository?.(report);
  }

  function isUsable({ from, to }: RepositoryCopy): boolean {
    for (const name of [from, to]) {
      if (isRepositoryName(name)) continue;
      fail(
        name.slice(0, 300),
        new CopyFault('source', 'repository', new Error('no name that a repository may have')),
      );
      return false;
    }
    return true;
  }

  /** Errors: what is no fault of either registry but of this program. */
  function fail(image: string, error: unknown, report?: RepositoryProgress, to?: string): void {
    if (error instanceof CopyAborted) {
      ended ??= error;
      return;
    }
    if (!(error instanceof CopyFault)) throw error;
    const { side, cause, message } = error;
    if (report !== undefined) report.failures += 1;
    if (failures.length < maxListed) failures.push({ image, side, reason: message });
    else unlisted += 1;
    silences = side === 'source' && isTransient(cause) ? silences + 1 : 0;
    const nobodyThere = isTransient(cause) && (side === 'target' || silences >= maxSilences);
    if (nobodyThere || isOciError(cause, 'UNAUTHORIZED')) ended ??= error;
    // All other images would be refused as well; a tag alone may be, because it never moves.
    const tagAlone = to !== undefined && error.subject.startsWith(`manifest ${to}:`);
    if (side === 'target' && isOciError(cause, 'DENIED') && to !== undefined && !tagAlone) refused.add(to);
  }

  function note(image: string, notice: string): void {
    if (notices.length < maxListed) notices.push({ image, notice });
    else unlisted += 1;
  }
}
