/** What a delivery says, in one form for all providers. All of it is a hint: what is built is what the repository's refs say. */
export type HookEvent =
  | {
      readonly kind: 'refs';
      readonly project?: string;
      readonly app?: string;
      readonly pusher?: string;
      readonly refs: readonly RefHint[];
      readonly skip: boolean;
    }
  /** A pull request (merge request) of a fork has new commits. */
  | {
      readonly kind: 'change';
      readonly project?: string;
      readonly pusher?: string;
      readonly number: number;
      readonly commit?: string;
    }
  /** Nothing to do; `message` says why, for the sender's own log. */
  | { readonly kind: 'ignored'; readonly message: string };

/** One ref that moved. */
export interface RefHint {
  /** Full name. */
  readonly ref: string;
  /** Where it is said to be now. */
  readonly commit?: string;
  readonly deleted: boolean;
}

/** The body is not what its sender's documentation says. The message says what is missing. */
export class UnreadableEvent extends Error {
  override readonly name = 'UnreadableEvent';
}

/** More in one delivery is refused: the largest pushes of people move some hundreds. */
export const mostRefs = 1000;

const idPattern = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/** Reads JSON without trusting its shape. `path`: keys joined by dots. */
export interface EventFields {
  text(path: string): string | undefined;
  number(path: string): number | undefined;
  flag(path: string): boolean;
  /** Errors: UnreadableEvent when it is not there. */
  required(path: string): string;
  /** Errors: UnreadableEvent when it is no list of objects. */
  list(path: string): readonly EventFields[];
  /** The texts of a list; empty when there is none. */
  texts(path: string): readonly string[];
}

/** Errors: UnreadableEvent: no JSON, or no object. */
export function parseFields(body: Buffer): EventFields {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown;
  } catch {
    throw new UnreadableEvent(
      'the body is no JSON: choose the content type application/json where it is sent from',
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UnreadableEvent('the body is no JSON object');
  return fieldsOf(value);
}

function fieldsOf(value: object): EventFields {
  const at = (path: string): unknown => {
    let found: unknown = value;
    for (const key of path.split('.')) {
      if (typeof found !== 'object' || found === null || !Object.hasOwn(found, key)) return undefined;
      found = (found as Readonly<Record<string, unknown>>)[key];
    }
    return found;
  };
  const text = (path: string): string | undefined => {
    const found = at(path);
    return typeof found === 'string' && found !== '' && found.length <= 1000 ? found : undefined;
  };
  return {
    text,
    number(path) {
      const found = at(path);
      return Number.isSafeInteger(found) ? (found as number) : undefined;
    },
    flag: (path) => at(path) === true,
    required(path) {
      const found = text(path);
      if (found === undefined) throw new UnreadableEvent(`"${path}" is missing`);
      return found;
    },
    texts(path) {
      const found = at(path);
      return Array.isArray(found) ? found.filter((item): item is string => typeof item === 'string') : [];
    },
    list(path) {
      const found = at(path);
      if (!Array.isArray(found)) throw new UnreadableEvent(`"${path}" is no list`);
      return found.map((item: unknown) => {
        if (typeof item !== 'object' || item === null)
          throw new UnreadableEvent(`"${path}" holds something else than objects`);
        return fieldsOf(item);
      });
    },
  };
}

/** A hint from `after` of a push: all zeros mean that the ref is gone. Errors: UnreadableEvent. */
export function refHint(ref: string, after: string): RefHint {
  if (!idPattern.test(after))
    throw new UnreadableEvent(`${JSON.stringify(after.slice(0, 80))} is no commit id`);
  return /^0+$/.test(after) ? { ref, deleted: true } : { ref, commit: after, deleted: false };
}

/** Of a pull request's commit, where it is well-formed. */
export function commitHint(commit: string | undefined): { commit?: string } {
  return commit !== undefined && idPattern.test(commit) ? { commit } : {};
}

/** A name for the build's record; nothing is decided by it. */
export function pusherHint(name: string | undefined): { pusher?: string } {
  return name !== undefined && /^[\w][\w.@+-]{0,99}$/.test(name) ? { pusher: name } : {};
}
