import { compileRepositoryGlob } from '../../core/auth/repository-glob.ts';
import type { MaintenanceWindow } from './maintenance-window.ts';

/** How a changed base image reaches the apps on it; `builder.propagation` of the configuration. */
export interface PropagationSettings {
  /** `auto`: a channel that moved starts a wave by itself. `manual`: only people start waves. */
  readonly mode: 'auto' | 'manual';
  /** So many apps go first, and the others only when those succeeded; 0 = all at once. */
  readonly canary: number;
  /** Seconds between the first apps and the others, in which somebody may look and undo. */
  readonly canaryWait: number;
  /** Images that are rebased at the same time. */
  readonly concurrency: number;
  /** Images that are built again at the same time, so that builds of pushes wait behind no more than these. */
  readonly rebuilds: number;
  /** Seconds that a channel must have stood still before a wave starts by itself. */
  readonly settle: number;
  /** Waves of one channel in an hour that start by themselves; what moves more often waits. */
  readonly wavesPerHour: number;
  /** Patterns of repositories that no wave touches unless it names them. */
  readonly exclude: readonly string[];
  /** When waves that start by themselves may touch which repositories; a repository that no window names is always open. */
  readonly windows: readonly MaintenanceWindow[];
}

export const defaultPropagation: PropagationSettings = {
  mode: 'manual',
  canary: 0,
  canaryWait: 0,
  concurrency: 8,
  rebuilds: 1,
  settle: 60,
  wavesPerHour: 6,
  exclude: [],
  windows: [],
};

/** True when one of the patterns covers the repository. */
export function matches(patterns: readonly string[], repository: string): boolean {
  return patterns.some((pattern) => compileRepositoryGlob(pattern)?.(repository) === true);
}
