import type { Digest } from '../../oci/digest.ts';
import type { ActorTools, Ending } from './actor.ts';
import type { ScenarioActor } from './actors.ts';
import { type Exploration, type ExploreOptions, explore, type Fault, type Situation } from './explore.ts';
import {
  checkAlways,
  checkLitter,
  checkTags,
  type InvariantOptions,
  isBlobReadable,
  short,
} from './invariants.ts';
import { createMachine } from './machine.ts';
import { runAlone } from './plain-store.ts';
import type { Product } from './product.ts';
import { isManifestReadable, readStored, readTags } from './stored.ts';
import { createWorld, type StoreState, type World, type WorldOptions } from './world.ts';

export interface Scenario {
  readonly actors: readonly ScenarioActor[];
  /** What is there before. */
  readonly before?: (tools: ActorTools) => Promise<void>;
  readonly store?: WorldOptions;
  readonly faults?: number;
  readonly faultKinds?: readonly Fault[];
  readonly maxStates?: number;
  /** Too many interleavings: only those with so many preemptions at most. */
  readonly maxPreemptions?: number;
  readonly invariants?: InvariantOptions;
  /** A full collection, run after every end; blobs and manifests that it may take are nobody's. */
  readonly collect?: (tools: ActorTools) => Promise<void>;
  readonly checkStep?: ExploreOptions['checkStep'];
  /** More that has to hold. */
  readonly alsoCheck?: (end: End) => readonly string[];
}

export interface End extends Situation {
  /** After a clean collection with grace 0, run twice. */
  readonly after: StoreState | undefined;
}

export interface PreparedScenario {
  readonly world: World;
  readonly initial: StoreState;
  readonly check: (situation: Situation) => Promise<readonly string[]>;
  /** The part of it that only needs to see what is stored. */
  readonly checkMoment: (store: StoreState) => readonly string[];
}

export async function prepareScenario(product: Product, scenario: Scenario): Promise<PreparedScenario> {
  const world = createWorld(scenario.store);
  const { before } = scenario;
  const initial =
    before === undefined ? world.empty : await runAlone(product, world, world.empty, before, '5');
  return { world, initial, ...createCheck(product, world, initial, scenario) };
}

export async function exploreScenario(product: Product, scenario: Scenario): Promise<Exploration> {
  const { world, initial, check } = await prepareScenario(product, scenario);
  const machines = await Promise.all(
    scenario.actors.map((actor, index) => createMachine(product, world, actor, index + 1)),
  );
  const { faults, faultKinds, maxPreemptions, maxStates = 400_000 } = scenario;
  return explore({
    world,
    machines,
    initial,
    maxStates,
    check,
    checkStep: scenario.checkStep,
    lateUploads: scenario.store?.uploads === 'open',
    ...(maxPreemptions === undefined ? {} : { maxPreemptions }),
    ...(faults === undefined ? {} : { faults }),
    ...(faultKinds === undefined ? {} : { faultKinds }),
  });
}

function createCheck(
  product: Product,
  world: World,
  initial: StoreState,
  scenario: Scenario,
): Pick<PreparedScenario, 'check' | 'checkMoment'> {
  const { actors, collect, alsoCheck, invariants = {} } = scenario;
  const before = new Set(checkLitter(initial));
  const always = new Map<number, readonly string[]>();
  const collected = new Map<number, StoreState>();
  const checked = new Set<string>();
  const alwaysOf = (store: StoreState): readonly string[] => {
    let texts = always.get(store.id);
    if (texts === undefined)
      always.set(store.id, (texts = checkAlways(store, { uploads: world.exclusive, ...invariants })));
    return texts;
  };
  const collectedFrom = async (store: StoreState): Promise<StoreState | undefined> => {
    if (collect === undefined) return undefined;
    let after = collected.get(store.id);
    if (after === undefined) {
      const once = await runAlone(product, world, store, collect, 'a');
      after = await runAlone(product, world, once, collect, 'b');
      collected.set(store.id, after);
    }
    return after;
  };
  const check: PreparedScenario['check'] = async (situation) => {
    const { store, endings, allFinished, undisturbed } = situation;
    const told = `${store.id} ${allFinished} ${undisturbed} ${JSON.stringify(endings)}`;
    if (checked.has(told)) return [];
    checked.add(told);
    const texts = [...alwaysOf(store), ...bugs(actors, endings), ...checkPromises(actors, endings, store)];
    // Who was told UNAVAILABLE, or failed while calls failed, may have stopped anywhere, like one who died.
    const stopped = Object.values(endings).some(
      (ending) => isUnavailable(ending) || (!undisturbed && ending !== undefined && 'failed' in ending),
    );
    if (allFinished && !stopped) {
      texts.push(...checkTags(store));
      if (invariants.linksMayGo === 'for a while') texts.push(...checkAlways(store));
      if (invariants.protection !== false && undisturbed) {
        texts.push(...checkLitter(store).filter((text) => !before.has(text)));
      }
    }
    const ended = Object.values(endings).filter((ending) => ending !== undefined).length;
    const after = ended > 0 ? await collectedFrom(store) : undefined;
    if (after !== undefined) {
      const later = [...alwaysOf(after), ...checkTags(after), ...checkPromises(actors, endings, after, true)];
      texts.push(...later.map((text) => `${text} (after collection)`));
    }
    if (alsoCheck !== undefined) texts.push(...alsoCheck({ ...situation, after }));
    return texts;
  };
  return { check, checkMoment: alwaysOf };
}

function isUnavailable(ending: Ending | undefined): boolean {
  return ending !== undefined && 'failed' in ending && ending.failed === 'UNAVAILABLE';
}

function bugs(
  actors: readonly ScenarioActor[],
  endings: Readonly<Record<string, Ending | undefined>>,
): string[] {
  return actors.flatMap(({ name, mayFail = [] }) => {
    const ending = endings[name];
    if (ending === undefined || !('failed' in ending) || ending.failed === 'UNAVAILABLE') return [];
    return mayFail.includes(ending.failed) ? [] : [`bug: ${name} ended with ${ending.failed}`];
  });
}

/** Acknowledged and not rightly taken away since: there. */
function checkPromises(
  actors: readonly ScenarioActor[],
  endings: Readonly<Record<string, Ending | undefined>>,
  store: StoreState,
  collected = false,
): string[] {
  const acknowledged = (actor: ScenarioActor): boolean => {
    const ending = endings[actor.name];
    return ending !== undefined && 'value' in ending;
  };
  // Who died or was told UNAVAILABLE may have done it, or not.
  const possible = (actor: ScenarioActor): boolean => {
    const ending = endings[actor.name];
    return ending === undefined || 'value' in ending || ending.failed === 'UNAVAILABLE';
  };
  const removed = (fits: (removes: NonNullable<ScenarioActor['removes']>) => boolean): boolean =>
    actors.some((actor) => actor.removes !== undefined && possible(actor) && fits(actor.removes));

  const texts: string[] = [];
  for (const actor of actors) {
    const { promises } = actor;
    if (promises === undefined || !acknowledged(actor)) continue;
    const { repository, manifest, tag, blob } = promises;
    const here = (removes: { repository?: string }): boolean => removes.repository === repository;
    if (blob !== undefined && !collected) {
      const gone = removed((it) => it.unneeded === true || (here(it) && (it.everything ?? it.link === blob)));
      if (!gone && !isBlobReadable(store, repository, blob)) {
        texts.push(
          `loss: ${actor.name} was acknowledged and ${short(blob)} is not readable in ${repository}`,
        );
      }
    }
    if (manifest === undefined) continue;
    const gone = removed((it) => here(it) && (it.everything ?? it.manifest === manifest.digest));
    const readable = isManifestReadable(store, repository, manifest.digest);
    if (!gone && !readable) {
      texts.push(`loss: ${actor.name} was acknowledged and ${short(manifest.digest)} is not there`);
    }
    if (
      readable &&
      manifest.subject !== undefined &&
      !isListed(store, repository, manifest.subject, manifest.digest)
    ) {
      texts.push(`loss: ${actor.name} was acknowledged and its referrer is not listed`);
    }
    if (readable && readStored(store, `catalog/${repository}`) === undefined) {
      texts.push(`loss: ${actor.name} was acknowledged and ${repository} is in no list`);
    }
    if (tag !== undefined) texts.push(...checkTag(repository, tag));
  }
  return texts;

  function checkTag(repository: string, tag: string): string[] {
    const setters = actors.filter(
      ({ promises }) => promises?.repository === repository && promises.tag === tag,
    );
    const fixed = setters.filter((setter) => setter.promises?.immutable === true && acknowledged(setter));
    const candidates = new Set(
      (fixed.length > 0 ? fixed : setters.filter(possible)).map(
        (setter) => setter.promises?.manifest?.digest,
      ),
    );
    const found = readTags(store).find((it) => it.repository === repository && it.tag === tag);
    if (fixed.length > 0 && candidates.size > 1)
      return [`moved: the immutable tag ${tag} was given out twice`];
    if (found !== undefined) {
      return candidates.has(found.digest) ? [] : [`moved: the tag ${tag} leads to ${short(found.digest)}`];
    }
    // A DELETE that has ended takes tags only together with their manifest, which nobody else left there half pushed.
    const halfPushed = (digest: Digest): boolean =>
      actors.some((actor) => actor.promises?.manifest?.digest === digest && !acknowledged(actor));
    const gone = actors.some((actor) => {
      const { removes } = actor;
      if (removes === undefined || removes.repository !== repository || !possible(actor)) return false;
      if (removes.tag === tag || !acknowledged(actor)) return true;
      return [...candidates].some(
        (digest) =>
          digest !== undefined &&
          (removes.everything === true || removes.manifest === digest) &&
          (!isManifestReadable(store, repository, digest) || halfPushed(digest)),
      );
    });
    return gone ? [] : [`loss: the tag ${tag} was acknowledged and is not there`];
  }
}

function isListed(store: StoreState, repository: string, subject: Digest, digest: Digest): boolean {
  const attempt = readStored(store, `repos/${repository}/_manifests/${digest}`)?.header.attempt;
  return store.entries.has(`repos/${repository}/_referrers/${subject}/${digest}#${attempt}`);
}
