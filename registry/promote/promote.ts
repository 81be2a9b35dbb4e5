import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { createCopier } from '../../oci/copy/copier.ts';
import type { Digest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import type { Reader, Registry } from '../../oci/registry.ts';
import { findTag, ignoreUnknown } from '../decorators/find-tag.ts';
import type { CompiledPromotionRule, PromotionPolicy } from './promotion-policy.ts';
import { createPromotionRecords, type PromotionRecord } from './promotion-records.ts';

/** What this farm knows of an image that it built; nobody who pushes can write it. */
export interface BuildEvidence {
  readonly build: string;
  /** Of the commit, `refs/heads/main`. */
  readonly ref: string;
  readonly commit: string;
  /** Its `test:` commands ran in this build, and succeeded. */
  readonly tested: boolean;
}

export interface PromotionDeps {
  readonly store: ObjectStore;
  /** The server's own, which nothing refuses. */
  readonly registry: Registry;
  readonly policy: PromotionPolicy;
  /** Builds that made exactly this image; none = it came from elsewhere, or nobody remembers. */
  readonly evidenceOf: (repository: string, digest: Digest) => Promise<readonly BuildEvidence[]>;
  /** What is known of an image in one repository holds for the same bytes in another one. */
  readonly carryEvidence: (from: string, to: string, digest: Digest) => Promise<void>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export interface PromotionRequest {
  /** `reference` is a tag or a digest. */
  readonly source: { readonly repository: string; readonly reference: string };
  readonly target: { readonly repository: string; readonly tag: string };
  /** Only where the tag names this one now; null = only where there is no such tag. Left out: whatever it names when the promotion begins. */
  readonly replaces?: Digest | null;
  readonly by: string;
  /** Everything is checked and nothing is written. */
  readonly dryRun?: boolean;
}

export interface Promotion {
  readonly repository: string;
  readonly tag: string;
  readonly digest: Digest;
  /** What the tag named before; left out: there was no such tag. */
  readonly previous?: Digest;
  /** False: the tag named it already. */
  readonly changed: boolean;
  readonly builds: readonly BuildEvidence[];
}

/** Why there was no promotion: a rule is not kept (`policy`), or the tag is not where it was said or seen to be (`moved`). */
export class PromotionRefused extends Error {
  readonly reason: 'policy' | 'moved';
  constructor(reason: 'policy' | 'moved', message: string) {
    super(message);
    this.name = 'PromotionRefused';
    this.reason = reason;
  }
}

export interface Promoter {
  /**
   * Moves a tag to an image that is there, its bytes unchanged, by compare-and-set. `reader` is the view of whoever asks. Errors:
   * PromotionRefused, MANIFEST_UNKNOWN, NAME_UNKNOWN, UNAUTHORIZED, DENIED.
   */
  readonly promote: (request: PromotionRequest, reader: Reader) => Promise<Promotion>;
  /** Promotions of a tag or of an image, newest first, at most a hundred. */
  readonly history: (
    repository: string,
    about: { tag: string } | { digest: Digest },
  ) => Promise<readonly PromotionRecord[]>;
  readonly evidenceOf: PromotionDeps['evidenceOf'];
}

export function createPromoter(deps: PromotionDeps): Promoter {
  const { registry, policy, evidenceOf } = deps;
  const records = createPromotionRecords(deps.store);

  async function check(request: PromotionRequest, digest: Digest): Promise<readonly BuildEvidence[]> {
    const { source, target, by } = request;
    const rules = policy.rulesFor(target.repository, target.tag);
    const place = `${target.repository}:${target.tag}`;
    const builds = await evidenceOf(source.repository, digest);
    const stranger = rules.find((rule) => rule.by !== undefined && !rule.by.has(by));
    if (stranger !== undefined) {
      throw refused(`${by} may not promote to ${place}: ${[...(stranger.by ?? [])].join(', ')} may`);
    }
    if (rules.length === 0 || (await wasPromoted(target, digest))) return builds;
    for (const rule of rules) await checkRule(rule, request, digest, builds);
    return builds;
  }

  /** Back to what the tag named before is always a way out. */
  async function wasPromoted(
    { repository, tag }: PromotionRequest['target'],
    digest: Digest,
  ): Promise<boolean> {
    return (await records.list(repository, { digest })).some((record) => record.tag === tag);
  }

  async function checkRule(
    rule: CompiledPromotionRule,
    { source, target }: PromotionRequest,
    digest: Digest,
    builds: readonly BuildEvidence[],
  ): Promise<void> {
    const place = `${target.repository}:${target.tag}`;
    if (rule.require === 'tests' && !builds.some(({ tested }) => tested)) {
      const [build] = builds;
      throw refused(
        build === undefined
          ? `${place} takes images whose tests passed in this farm, and this farm did not build and test ${digest}; an image that was moved to a new base is tested again by "brickyard builds retry"`
          : `${place} takes images whose tests passed in this farm, and build ${build.build} ran none: write test: in App.yaml and build again`,
      );
    }
    if (rule.require === 'built' && builds.length === 0) {
      throw refused(
        `${place} takes images of this farm only, and it has no record of having built ${digest}`,
      );
    }
    if (rule.from.length > 0) {
      const found = await findTag(registry, source.repository, digest, rule.comesFrom);
      if (found !== undefined) return;
      const wanted = rule.from.join(', ');
      throw refused(`${place} takes what is tagged ${wanted} in ${source.repository}, and ${digest} is not`);
    }
  }

  return {
    evidenceOf,
    history: (repository, about) => records.list(repository, about),
    async promote(request, reader) {
      const { source, target, by, replaces, dryRun = false } = request;
      const { digest } = await reader.resolveManifest(source.repository, source.reference);
      const builds = await check(request, digest);
      const previous = (await registry.resolveManifest(target.repository, target.tag).catch(ignoreUnknown))
        ?.digest;
      if (replaces !== undefined && (replaces ?? undefined) !== previous && previous !== digest) {
        throw moved(target, previous);
      }
      const result: Promotion = {
        ...target,
        digest,
        ...(previous === undefined ? {} : { previous }),
        changed: previous !== digest,
        builds,
      };
      if (dryRun || !result.changed) return result;
      if (source.repository !== target.repository)
        await bringOver(source.repository, target.repository, digest);
      const separator = source.reference.includes(':') ? '@' : ':';
      const open = await records.open({
        ...target,
        digest,
        ...(previous === undefined ? {} : { previous }),
        source: `${source.repository}${separator}${source.reference}`,
        by,
        at: new Date(deps.now()).toISOString(),
      });
      const { bytes, descriptor } = await registry.getManifest(target.repository, digest);
      const { tag } = target;
      try {
        await registry.putManifest(target.repository, digest, bytes, descriptor.mediaType, {
          tags: [tag],
          replaces: { [tag]: previous },
        });
      } catch (error) {
        if (!isOciError(error, 'DENIED')) throw error;
        await open.abandon();
        const now = (await registry.resolveManifest(target.repository, tag).catch(ignoreUnknown))?.digest;
        // Where nothing moved it was refused for another reason: a mirror takes no pushes.
        throw now === previous ? error : moved(target, now);
      }
      await open.done();
      return result;
    },
  };

  /** With what signs it; layers are mounted. */
  async function bringOver(from: string, to: string, digest: Digest): Promise<void> {
    const copier = createCopier({ source: registry, target: registry, sameRegistry: true });
    await copier.copyImage({ from: { repository: from, reference: digest }, to: { repository: to } });
    await deps.carryEvidence(from, to, digest);
  }
}

function refused(message: string): PromotionRefused {
  return new PromotionRefused('policy', message);
}

function moved({ repository, tag }: PromotionRequest['target'], now: Digest | undefined): PromotionRefused {
  const where = now === undefined ? 'is not there' : `is at ${now}`;
  return new PromotionRefused('moved', `${repository}:${tag} ${where} now: look at it, and promote again`);
}
