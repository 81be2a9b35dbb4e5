import type { JsonValue } from '../../core/object-store/object-store.ts';
import type { JobRecord, JobState } from '../../core/queue/job-queue.ts';
import type { Provider, Trigger } from './trigger.ts';

/** Payload of a delivery's job: what was said, and which record it belongs to. The record's own settings are read when it is worked off. */
export interface DeliveryRequest {
  readonly version: 1;
  readonly team: string;
  readonly app: string;
  readonly provider: Provider;
  /** Of the record, so that a record which changed meanwhile is told from this one. */
  readonly url: string;
  readonly pusher: string;
  /** Take the refs over, build nothing. */
  readonly skip: boolean;
  readonly refs: readonly DeliveredRef[];
}

/** One ref that is to be looked at. */
export interface DeliveredRef {
  /** Full name there. */
  readonly from: string;
  /** Full name here. */
  readonly to: string;
  readonly commit?: string;
}

/** What became of one ref. */
export interface RefOutcome {
  readonly ref: string;
  readonly outcome: 'queued' | 'moved' | 'unchanged' | 'deleted' | 'skipped' | 'missing' | 'refused';
  readonly detail?: string;
  /** Id of the build. */
  readonly build?: string;
}

/** A delivery as people and programs see it. */
export interface Delivery {
  readonly id: string;
  readonly state: JobState;
  readonly createdAt: string;
  readonly finishedAt?: string;
  readonly error?: string;
  readonly request: DeliveryRequest;
  /** Known once it has succeeded. */
  readonly refs: readonly RefOutcome[];
}

/** Errors: the payload is of another version or damaged. */
export function toDelivery({
  id,
  state,
  createdAt,
  finishedAt,
  error,
  payload,
  result,
}: JobRecord): Delivery {
  return {
    id,
    state,
    createdAt,
    ...(finishedAt === undefined ? {} : { finishedAt }),
    ...(error === undefined ? {} : { error }),
    request: parseDeliveryRequest(payload),
    refs: (result?.['refs'] ?? []) as unknown as readonly RefOutcome[],
  };
}

/** Errors: as above. */
export function parseDeliveryRequest(payload: { readonly [name: string]: JsonValue }): DeliveryRequest {
  const texts = ['team', 'app', 'provider', 'url', 'pusher'];
  if (
    payload['version'] !== 1 ||
    texts.some((name) => typeof payload[name] !== 'string') ||
    !Array.isArray(payload['refs'])
  ) {
    throw new Error('a delivery cannot be read');
  }
  return payload as unknown as DeliveryRequest;
}

/** The record that a delivery came by, as it is now. */
export function triggerOf(request: DeliveryRequest, triggers: readonly Trigger[]): Trigger | undefined {
  return triggers.find(
    ({ team, app, provider, remote }) =>
      team === request.team &&
      app === request.app &&
      provider === request.provider &&
      remote.url === request.url,
  );
}
