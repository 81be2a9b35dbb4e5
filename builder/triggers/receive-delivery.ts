import type { JobQueue } from '../../core/queue/job-queue.ts';
import { checkRefName } from '../git/ref-name.ts';
import { timeOrderedId } from '../git/time-ordered-id.ts';
import { type DeliveredRef, type Delivery, type DeliveryRequest, toDelivery } from './delivery.ts';
import { type HookEvent, UnreadableEvent } from './hook-event.ts';
import { readEvent } from './read-event.ts';
import { createRefFilter } from './ref-filter.ts';
import type { SeenDeliveries } from './seen-deliveries.ts';
import type { Provider, Trigger } from './trigger.ts';
import { repositoryOfTrigger } from './trigger.ts';
import { type RawDelivery, type Verdict, verifyDelivery } from './verify-delivery.ts';

/** What a sender is answered. */
export type Received =
  /** Kept for good. `duplicate`: it was kept before, under this id. */
  | { readonly kind: 'kept'; readonly delivery: Delivery; readonly duplicate: boolean }
  | { readonly kind: 'ignored'; readonly message: string }
  /** `status` 401: not signed as it must be; 400: never to be taken. */
  | { readonly kind: 'refused'; readonly status: 400 | 401; readonly message: string };

/** `app`: which application the sender's address named, where it named one. Errors: the store's. */
export type ReceiveDelivery = (delivery: RawDelivery, app?: string) => Promise<Received>;

/** Header with the sender's own id of a delivery: the same when it is sent once more. */
const deliveryHeaders: Readonly<Record<Provider, readonly string[]>> = {
  github: ['x-github-delivery'],
  gitlab: ['idempotency-key', 'x-gitlab-event-uuid'],
  gitea: ['x-gitea-delivery', 'x-forgejo-delivery'],
  generic: ['x-brickyard-delivery'],
};

/**
 * Whose bodies are unlike each other: they carry times. GitLab's and the generic ones of two pushes that do the same are equal, and both count; a
 * repetition of those finds the ref where it is already, so it builds nothing either.
 */
const bodiesDiffer: ReadonlySet<Provider> = new Set(['github', 'gitea']);

/** From the bytes of a webhook to a job, in this order: signature, repetition, meaning. Nothing is parsed before the signature is good. */
export function createDeliveryReceiver(deps: {
  readonly triggers: readonly Trigger[];
  readonly seen: SeenDeliveries;
  readonly queue: Pick<JobQueue, 'add' | 'get'>;
  readonly now?: () => number;
}): ReceiveDelivery {
  const { triggers, seen, queue, now = Date.now } = deps;

  /** An attempt that came to nothing may be made again. */
  async function forget(id: string): Promise<boolean> {
    const job = await queue.get(id);
    return job?.state === 'failed' || job?.state === 'cancelled';
  }

  async function claim(delivery: RawDelivery, trigger: Trigger, id: string): Promise<string> {
    const scope = `${trigger.provider} ${repositoryOfTrigger(trigger)}`;
    const sent = deliveryHeaders[delivery.provider]
      .map((name) => delivery.headers[name])
      .find((value) => typeof value === 'string' && /^[\x21-\x7e]{8,200}$/.test(value));
    const names = [
      ...(typeof sent === 'string' ? [{ kind: 'delivery', scope, value: sent } as const] : []),
      ...(bodiesDiffer.has(delivery.provider)
        ? [{ kind: 'body', scope, value: delivery.body } as const]
        : []),
    ];
    for (const name of names) {
      const holder = await seen.claim(name, id, forget);
      if (holder !== id) return holder;
    }
    return id;
  }

  async function keep(delivery: RawDelivery, trigger: Trigger, event: HookEvent): Promise<Received> {
    const refs = wantedRefs(event, trigger);
    if (!Array.isArray(refs)) return refs as Received;
    const id = timeOrderedId(now());
    const holder = await claim(delivery, trigger, id);
    const { team, app, provider, remote } = trigger;
    const request: DeliveryRequest = {
      version: 1,
      team,
      app,
      provider,
      url: remote.url,
      // No account has a colon in its name.
      pusher: `${provider}:${'pusher' in event ? (event.pusher ?? 'webhook') : 'webhook'}`,
      skip: event.kind === 'refs' && event.skip,
      refs: refs as readonly DeliveredRef[],
    };
    // Also for a repetition: who claimed it first may have died before this.
    const job = await queue.add({
      id: holder,
      payload: { ...request, refs: request.refs.map((ref) => ({ ...ref })) },
    });
    return { kind: 'kept', delivery: toDelivery(job), duplicate: holder !== id };
  }

  return async (delivery, app) => {
    const verdict = verifyDelivery(delivery, triggers, now());
    if ('refused' in verdict) return { kind: 'refused', status: 401, message: verdict.refused };
    const replayed = await isReplay(verdict);
    if (replayed)
      return {
        kind: 'refused',
        status: 401,
        message: 'x-brickyard-nonce was there before: make a new one for every request',
      };
    let event: HookEvent;
    try {
      event = readEvent(delivery.provider, delivery.headers, delivery.body);
    } catch (error) {
      if (!(error instanceof UnreadableEvent)) throw error;
      return { kind: 'refused', status: 400, message: error.message };
    }
    if (event.kind === 'ignored') return event;
    const chosen = chooseTrigger(verdict.triggers, event, app);
    return 'kind' in chosen ? chosen : keep(delivery, chosen.trigger, event);
  };

  async function isReplay(verdict: Exclude<Verdict, { refused: string }>): Promise<boolean> {
    if (verdict.nonce === undefined) return false;
    const by = timeOrderedId(now());
    return (
      (await seen.claim({ kind: 'nonce', scope: 'generic', value: verdict.nonce }, by, async () => false)) !==
      by
    );
  }
}

/** Which of the records with the sender's secret it is about: the address or the delivery may say so, and what they say only chooses among these. */
function chooseTrigger(
  verified: readonly Trigger[],
  event: Exclude<HookEvent, { kind: 'ignored' }>,
  app: string | undefined,
): { trigger: Trigger } | Received {
  const named = app ?? ('app' in event ? event.app : undefined);
  const { project } = event;
  const ofApp =
    named === undefined ? verified : verified.filter((trigger) => repositoryOfTrigger(trigger) === named);
  if (ofApp.length === 0) {
    return {
      kind: 'refused',
      status: 400,
      message: `no trigger of ${(named ?? '').slice(0, 200)} has this secret: see builder.triggers`,
    };
  }
  const fitting = project === undefined ? ofApp : ofApp.filter(({ remote }) => follows(remote.url, project));
  const [trigger, other] = fitting;
  if (trigger === undefined) {
    return {
      kind: 'ignored',
      message: `no trigger with this secret follows ${(project ?? '').slice(0, 200)}`,
    };
  }
  if (other === undefined) return { trigger };
  const apps = fitting.map(repositoryOfTrigger).join(', ');
  return {
    kind: 'refused',
    status: 400,
    message: `several triggers fit (${apps}): put ?app=TEAM/APP behind the address of the webhook`,
  };
}

/** Names of projects are not case-sensitive at any of the providers. */
function follows(url: string, project: string): boolean {
  const path = url
    .toLowerCase()
    .replace(/\/+$/, '')
    .replace(/\.git$/, '');
  return path.endsWith(`/${project.toLowerCase()}`);
}

/** What of a delivery is looked at; an answer where that is nothing. The last word about a ref counts. */
function wantedRefs(event: HookEvent, trigger: Trigger): readonly DeliveredRef[] | Received {
  if (event.kind === 'ignored') return event;
  if (event.kind === 'change') {
    if (trigger.forks !== 'build') {
      return {
        kind: 'ignored',
        message: 'pull requests of forks are not built: the trigger says forks: never',
      };
    }
    const folder = trigger.provider === 'gitlab' ? 'merge-requests' : 'pull';
    return [
      {
        from: `refs/${folder}/${event.number}/head`,
        to: `refs/brickyard/pr-${event.number}`,
        ...(event.commit === undefined ? {} : { commit: event.commit }),
      },
    ];
  }
  const known = event.refs.filter(({ ref }) => /^refs\/(?:heads|tags)\//.test(ref));
  const wrong = known.find(({ ref }) => checkRefName(ref) !== undefined);
  if (wrong !== undefined) {
    return {
      kind: 'refused',
      status: 400,
      message: `${JSON.stringify(wrong.ref.slice(0, 200))} is no name of a ref`,
    };
  }
  const passes = createRefFilter(trigger);
  if (!known.some(({ ref }) => passes(ref))) {
    return { kind: 'ignored', message: 'no ref of it is among the branches and tags of the trigger' };
  }
  const last = new Map(known.map((hint) => [hint.ref, hint]));
  return [...last.values()].map(({ ref, commit }) => ({
    from: ref,
    to: ref,
    ...(commit === undefined ? {} : { commit }),
  }));
}
