import type { EventBus } from '../../core/events.ts';
import type { Logger } from '../../core/log.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { createEmbeddedQueue, type EmbeddedQueueOptions } from '../../core/queue/embedded.ts';
import type { JobQueue, JobWorker } from '../../core/queue/job-queue.ts';
import { UserError } from '../../core/user-error.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Registry } from '../../oci/registry.ts';
import { catalogTeam } from '../catalog/catalog.ts';
import { noProtection, type TagProtection, unprotectedRecords } from '../farm/tag-protection.ts';
import { createTagRecords } from '../farm/tag-records.ts';
import { timeOrderedId } from '../git/time-ordered-id.ts';
import type { PlannedBase } from '../plan/plan.ts';
import { found } from '../rebase/read-image.ts';
import { createRebaser } from '../rebase/rebase-image.ts';
import { baseKeyOf } from './base-key.ts';
import { type BaseChannel, listBaseChannels, readChannel } from './base-tree.ts';
import { createChannelStates } from './channel-state.ts';
import { channelsBehind } from './channels-behind.ts';
import { type BasePlan, planBase } from './plan-base.ts';
import { createWaveRunner } from './run-wave.ts';
import type { PropagationSettings } from './settings.ts';
import { type UndoWave, undoWaves } from './undo-waves.ts';
import { createChannelWatch } from './watch-channels.ts';
import { toWave, type Wave, type WaveImage, type WaveRequest } from './wave.ts';
import { readWaveDocument } from './wave-store.ts';

/** Brings changed base images to the apps on them. `name` is that of a base image, `jdk`; `channel` undefined = all of its channels. */
export interface Propagation {
  /** What a change of the base touches, and how. Changes nothing. Errors: UserError (there is no such base image). */
  plan(name: string, channel?: string): Promise<BasePlan>;
  /** Starts a wave for each channel that apps are behind of. Errors: UserError. */
  start(options: StartWaves): Promise<readonly Wave[]>;
  /** Whoever made a base image says so: in `auto`, waves for channels that moved start at once. */
  changed(name: string, by: string): Promise<readonly Wave[]>;
  /**
   * A build has set its tags. In `auto`: where its base moved while it ran, and the wave for that has gone by, one for it alone starts.
   * Errors: none; the image is behind then until the base moves again.
   */
  built(repository: string, base: Pick<PlannedBase, 'name' | 'repository' | 'digest'>): Promise<void>;
  /** Newest first. */
  waves(name: string, options?: { limit?: number }): Promise<readonly Wave[]>;
  /** With what came of each image so far. */
  wave(name: string, id: string): Promise<{ wave: Wave; images: readonly WaveImage[] } | undefined>;
  /** Gives tags back what a wave (default: those that were started last and are not undone) took from them. Errors: UserError. */
  undo(options: UndoWave): Promise<readonly Wave[]>;
  /** `auto`: looks at every channel once; in `manual` it does nothing. */
  reconcile(): Promise<readonly Wave[]>;
  /** Starts taking waves. */
  work(): Pick<JobWorker, 'close'>;
}

export interface StartWaves {
  readonly name: string;
  readonly channel?: string | undefined;
  readonly canary?: number | undefined;
  readonly canaryWait?: number | undefined;
  readonly apps?: readonly string[] | undefined;
  readonly by: string;
}

export interface PropagationDeps {
  readonly store: ObjectStore;
  readonly registry: Registry;
  readonly events: EventBus;
  readonly log: Logger;
  /** The queue of builds. */
  readonly builds: JobQueue;
  readonly settings: PropagationSettings;
  /** Tags that no wave moves; default none. */
  readonly protection?: TagProtection;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** How patient the queue of waves is. */
  readonly queue?: Pick<EmbeddedQueueOptions, 'leaseMs' | 'pollMs' | 'retryMs'>;
}

/** Waves at the same time; they share the limits on images. */
const wavesAtOnce = 2;
const reconcileEveryMs = 60_000;
/** Waves that are looked through in search of those of one base. */
const mostListed = 1000;

export function createPropagation(deps: PropagationDeps): Propagation {
  const { store, registry, settings, log, protection = noProtection, now: clock = Date.now } = deps;
  const rebaser = createRebaser(registry);
  const records = unprotectedRecords(createTagRecords(store), protection);
  const states = createChannelStates(store);
  const queue = createEmbeddedQueue({
    store,
    prefix: 'waves/',
    events: deps.events,
    onError: (error) => log.warn({ err: error }, 'queue of waves will try again'),
    ...deps.queue,
  });
  const repositoryOf = (name: string): string => `${catalogTeam}/${name}`;

  async function channelsOf(name: string, channel: string | undefined): Promise<readonly BaseChannel[]> {
    const repository = repositoryOf(name);
    const channels =
      channel === undefined
        ? await listBaseChannels(registry, repository)
        : [await readChannel(registry, repository, channel)].flatMap((each) => each ?? []);
    if (channels.length > 0) return channels;
    throw new UserError(
      `there is no base image "${name}${channel === undefined ? '' : `:${channel}`}" on this server (brickyard base ls lists them)`,
    );
  }

  async function enqueue(
    base: Pick<BaseChannel, 'repository' | 'channel' | 'digest'>,
    id: string,
    rest: Partial<WaveRequest>,
  ): Promise<Wave> {
    const { repository, channel, digest } = base;
    const request: WaveRequest = {
      version: 1,
      kind: 'rebase',
      repository,
      channel,
      to: digest,
      baseKey: await baseKeyOf(registry, repository, digest),
      canary: settings.canary,
      canaryWait: settings.canaryWait,
      automatic: false,
      by: 'brickyard',
      group: id,
      ...rest,
    };
    return toWave(await queue.add({ id, payload: { ...request } }));
  }

  /** A wave that does what a new one would do. */
  async function runningWave(id: string | undefined, to: Digest): Promise<Wave | undefined> {
    const job = id === undefined ? undefined : await queue.get(id);
    if (job === undefined || job.finishedAt !== undefined) return undefined;
    const wave = toWave(job);
    return wave.request.to === to && wave.request.apps === undefined ? wave : undefined;
  }

  const watch = createChannelWatch({
    states,
    waves: queue,
    settings,
    log,
    now: clock,
    behind: (channels) => channelsBehind({ registry, records }, channels),
    enqueue,
  });

  async function reconcile(): Promise<readonly Wave[]> {
    if (settings.mode === 'manual') return [];
    return watch.look(await listBaseChannels(registry), { settled: false });
  }

  async function listWaves(name: string, limit: number): Promise<Wave[]> {
    const repository = repositoryOf(name);
    const matching: Wave[] = [];
    let before: string | undefined;
    for (let read = 0; read < mostListed && matching.length < limit; read += 100) {
      const page = await queue.list({ limit: 100, ...(before === undefined ? {} : { before }) });
      matching.push(...page.map(toWave).filter(({ request }) => request.repository === repository));
      before = page.at(-1)?.id;
      if (page.length < 100) break;
    }
    return matching.slice(0, limit);
  }

  return {
    async plan(name, channel) {
      await channelsOf(name, channel);
      return planBase(
        { registry, records, rebaser, builds: deps.builds, settings },
        repositoryOf(name),
        channel,
      );
    },

    async start({ name, channel, canary, canaryWait, apps, by }) {
      const channels = await channelsBehind({ registry, records }, await channelsOf(name, channel), apps);
      const group = timeOrderedId(clock());
      return Promise.all(
        channels.map(async ({ channel: base, from: below }) => {
          const { repository, digest } = base;
          const state = await states.read(repository, base.channel);
          const running = apps === undefined ? await runningWave(state?.wave, digest) : undefined;
          if (running !== undefined) return running;
          const handled = state?.handled;
          const from = handled === undefined || handled === digest ? below : handled;
          const wave = await enqueue(base, timeOrderedId(clock()), {
            by,
            group,
            ...(from === undefined ? {} : { from }),
            ...(canary === undefined ? {} : { canary }),
            ...(canaryWait === undefined ? {} : { canaryWait }),
            ...(apps === undefined ? {} : { apps }),
          });
          // A wave for a few apps leaves the others to the one that starts by itself.
          if (apps === undefined) {
            await states.update(repository, base.channel, (known) => {
              const {
                pending: _,
                retryAt: __,
                starting: ___,
                undone: ____,
                ...rest
              } = known ?? { waves: [] };
              return { ...rest, handled: digest, wave: wave.id };
            });
          }
          return wave;
        }),
      );
    },

    async changed(name) {
      if (settings.mode === 'manual') return [];
      return watch.look(await listBaseChannels(registry, repositoryOf(name)), { settled: true });
    },

    async built(repository, base) {
      if (settings.mode === 'manual') return;
      try {
        await catchUp(repository, base);
      } catch (error) {
        log.warn({ err: error, repository, base: base.name }, 'image may be behind its base image');
      }
    },

    waves: (name, { limit = 20 } = {}) => listWaves(name, limit),

    async wave(name, id) {
      const job = await queue.get(id);
      if (job === undefined) return undefined;
      const wave = toWave(job);
      if (wave.request.repository !== repositoryOf(name)) return undefined;
      return { wave, images: (await readWaveDocument(store, id))?.images ?? [] };
    },

    async undo(options) {
      const waves = await listWaves(options.name, mostListed);
      const group = timeOrderedId(clock());
      return undoWaves({ registry, states }, waves, options, (base, request) =>
        enqueue(base, timeOrderedId(clock()), { ...request, group }),
      );
    },

    reconcile,

    work() {
      const runner = createWaveRunner({
        store,
        registry,
        rebaser,
        records,
        protection,
        states,
        waves: queue,
        builds: deps.builds,
        settings,
        log,
        now: clock,
      });
      const worker = queue.work(runner, { concurrency: wavesAtOnce });
      let looking: Promise<void> | undefined;
      const look = (): void => {
        looking ??= reconcile()
          .then(() => undefined)
          .catch((error: unknown) => log.warn({ err: error }, 'base images could not be looked through'))
          .finally(() => {
            looking = undefined;
          });
      };
      look();
      const timer = setInterval(look, reconcileEveryMs);
      return {
        async close() {
          clearInterval(timer);
          await looking;
          await worker.close();
        },
      };
    },
  };

  async function catchUp(
    app: string,
    { name, repository, digest }: Pick<PlannedBase, 'name' | 'repository' | 'digest'>,
  ): Promise<void> {
    const channel = name.slice(name.indexOf(':') + 1);
    const now = await found(() => registry.resolveManifest(repository, channel));
    if (now === undefined || now.digest === digest) return;
    const state = await states.read(repository, channel);
    // A wave that is still to come takes it along.
    if (state === undefined || state.handled !== now.digest || state.undone === true) return;
    const last = state.wave === undefined ? undefined : await queue.get(state.wave);
    const id = timeOrderedId(clock());
    await enqueue({ repository, channel, digest: now.digest }, id, {
      automatic: true,
      apps: [app],
      // It belongs to that wave, and is undone with it.
      group: last === undefined ? id : toWave(last).request.group,
      from: digest,
    });
  }
}
