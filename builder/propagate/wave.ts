import type { JsonValue } from '../../core/object-store/object-store.ts';
import type { JobRecord } from '../../core/queue/job-queue.ts';
import type { Digest } from '../../oci/digest.ts';
import type { DescendantTag } from './descendants.ts';

/** Payload of a wave's job: small, versioned JSON. */
export interface WaveRequest {
  readonly version: 1;
  /** `undo`: gives tags back what a wave took from them. */
  readonly kind: 'rebase' | 'undo';
  /** Of the base image, e.g. `baseimages/jdk`. */
  readonly repository: string;
  readonly channel: string;
  /** What the channel names: where apps are moved to. For `undo` where they were moved to. */
  readonly to: Digest;
  /** What the channel named before, where that is known. */
  readonly from?: Digest;
  /** See `baseKeyOf`. */
  readonly baseKey: string;
  /** Who asked for it. */
  readonly by: string;
  /** Nobody did: the channel moved. */
  readonly automatic: boolean;
  /** As in `PropagationSettings`. */
  readonly canary: number;
  readonly canaryWait: number;
  /** Only these repositories. Default: all. */
  readonly apps?: readonly string[];
  /** Waves of several channels that one change or one person started; they are undone together. */
  readonly group: string;
  /** Id of the wave that is undone. */
  readonly undoes?: string;
}

/** A wave as people and programs see it. */
export interface Wave extends Omit<JobRecord, 'payload' | 'result'> {
  readonly request: WaveRequest;
  readonly counts?: WaveCounts;
}

/** How many images came to which end. */
export interface WaveCounts {
  readonly rebased: number;
  readonly rebuilt: number;
  readonly restored: number;
  /** Every tag had moved on. */
  readonly left: number;
  readonly refused: number;
  readonly failed: number;
  /** Outside of their maintenance window: a later wave takes them. */
  readonly deferred: number;
  readonly excluded: number;
}

/** What is to be done with one image, and what came of it. */
export interface WaveImage {
  readonly repository: string;
  /** Before the wave. */
  readonly digest: Digest;
  readonly revision?: string;
  readonly tags: readonly DescendantTag[];
  readonly action: WaveAction;
  /** Why it is not simply rebased; why it failed. */
  readonly reason?: string;
  /** Goes first. */
  readonly canary?: boolean;
  readonly outcome?: keyof WaveCounts;
  /** After the wave. */
  readonly newDigest?: Digest;
  readonly moved?: readonly string[];
  readonly left?: readonly { readonly tag: string; readonly reason: string }[];
  /** Id of the build that makes it again. */
  readonly build?: string;
}

export type WaveAction = 'rebase' | 'rebuild' | 'restore' | 'refuse' | 'exclude' | 'defer';

/** What is stored of a wave beside its job. */
export interface WaveDocument {
  readonly images: readonly WaveImage[];
  /** Milliseconds since 1970: when the first apps were done. */
  readonly canaryDone?: number;
}

/** Errors: the payload is of another version or damaged. */
export function parseWaveRequest(payload: { readonly [name: string]: JsonValue }): WaveRequest {
  const texts = ['repository', 'channel', 'to', 'baseKey', 'by', 'group'];
  if (
    payload['version'] !== 1 ||
    (payload['kind'] !== 'rebase' && payload['kind'] !== 'undo') ||
    texts.some((name) => typeof payload[name] !== 'string')
  ) {
    throw new Error('wave request cannot be read');
  }
  return payload as unknown as WaveRequest;
}

export function toWave({ payload, result, ...job }: JobRecord): Wave {
  return {
    ...job,
    request: parseWaveRequest(payload),
    ...(result === undefined ? {} : { counts: result as unknown as WaveCounts }),
  };
}

export function countOutcomes(images: readonly WaveImage[]): WaveCounts {
  const count = (outcome: keyof WaveCounts): number =>
    images.filter((image) => image.outcome === outcome).length;
  return {
    rebased: count('rebased'),
    rebuilt: count('rebuilt'),
    restored: count('restored'),
    left: count('left'),
    refused: count('refused'),
    failed: count('failed'),
    deferred: count('deferred'),
    excluded: count('excluded'),
  };
}
