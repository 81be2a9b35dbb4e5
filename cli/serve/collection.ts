import { hostname } from 'node:os';
import { catalogTeam } from '../../builder/catalog/catalog.ts';
import { compileRepositoryGlob } from '../../core/auth/repository-glob.ts';
import { createStoreProbe } from '../../core/object-store/probe.ts';
import { type Collector, type CollectorLog, createCollector } from '../../registry/collect/collector.ts';
import type { UntaggedPolicy } from '../../registry/collect/run.ts';
import type { Config } from '../config.ts';
import type { ServerStore } from './open-store.ts';

export interface CollectionOverrides {
  /** Instead of `collection.grace`. */
  readonly graceMs?: number;
  /** Instead of `collection.rate`. */
  readonly rate?: number;
}

/** The collector that the configuration asks for; it does nothing until it is told to. */
export function openCollector(
  config: Config,
  store: ServerStore,
  log: CollectorLog,
  overrides: CollectionOverrides = {},
): Collector {
  const { grace, interval, fullInterval, rate } = config.collection;
  const untagged = untaggedPolicy(config);
  return createCollector({
    store,
    probe: createStoreProbe(store),
    holder: `${hostname()}, process ${process.pid}`,
    log,
    graceMs: Math.max(overrides.graceMs ?? grace * 1000, readersHoldMs(config)),
    ...(untagged === undefined ? {} : { untagged }),
    intervalMs: interval * 1000,
    fullIntervalMs: fullInterval * 1000,
    rate: overrides.rate ?? rate,
  });
}

/** Milliseconds that somebody may still read bytes by an address that was given to him. */
export function readersHoldMs(config: Config): number {
  const { redirect, accel } = config.registry;
  const seconds = [
    redirect.mode === 'on' ? redirect.ttl : 0,
    accel.mode === 'on' && config.store.type === 's3' ? accel.ttl : 0,
  ];
  return Math.max(...seconds) * 1000;
}

function untaggedPolicy(config: Config): UntaggedPolicy | undefined {
  const { enabled, olderThan, repositories } = config.collection.untagged;
  if (!enabled) return undefined;
  const globs = repositories.flatMap((pattern) => compileRepositoryGlob(pattern) ?? []);
  const isBaseImage = (repository: string): boolean => repository.startsWith(`${catalogTeam}/`);
  return {
    olderThanMs: olderThan * 1000,
    // A rebase compares with the base image that an app stands on, which only that app's annotations name: no tag, no index.
    appliesTo: (repository) => !isBaseImage(repository) && globs.some((glob) => glob(repository)),
  };
}
