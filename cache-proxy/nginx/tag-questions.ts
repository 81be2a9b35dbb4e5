import { LRUCache } from 'lru-cache';
import type { ManifestAnswer } from '../fetch/fetch-manifest.ts';
import { inHurry } from '../fetch/in-hurry.ts';
import { OriginAway } from '../fetch/origin-link.ts';

/** A tag, asked for over a line that crawls. */
export interface TagQuestion {
  /** The tag with its registry, repository and accept class. */
  readonly key: string;
  /** Of nginx' own answer; undefined: it has none that can be named. */
  readonly ifNoneMatch: string | undefined;
  /** Milliseconds that whoever asks waits. */
  readonly hurry: number;
}

/**
 * What nginx asks about tags while the line crawls: each is asked for once, however many want it, and goes on when nobody waits any more. nginx takes no
 * answer that it did not wait for, so a moved tag is kept here and is there for the next who pulls.
 */
export interface TagQuestions {
  /** Errors: those of `fetch`; OriginAway: no answer yet, so what is in the cache has to do. */
  ask(question: TagQuestion, fetch: () => Promise<ManifestAnswer>): Promise<ManifestAnswer>;
  /** The registry is asked without hurry again, so nothing kept counts. */
  forget(key: string): void;
}

/** Milliseconds for which an answer is believed: else the tags alone would fill the line. */
const believedMs = 5_000;
const maxBytes = 32 * 1024 * 1024;

export function createTagQuestions(now: () => number = Date.now): TagQuestions {
  const kept = new LRUCache<string, { ifNoneMatch: string | undefined; answer: ManifestAnswer; at: number }>({
    maxSize: maxBytes,
    sizeCalculation: ({ answer }, key) => answer.body.length + key.length + 1024,
  });
  const running = new Map<string, Promise<ManifestAnswer>>();

  const keptFor = ({ key, ifNoneMatch }: TagQuestion): { answer: ManifestAnswer; at: number } | undefined => {
    const found = kept.get(key);
    if (found === undefined || found.ifNoneMatch === ifNoneMatch) return found;
    // nginx has taken it meanwhile.
    const { etag } = found.answer.headers;
    if (etag === undefined || etag !== ifNoneMatch) return undefined;
    return { at: found.at, answer: { status: 304, headers: { etag }, body: Buffer.of() } };
  };

  const start = (
    { key, ifNoneMatch }: TagQuestion,
    fetch: () => Promise<ManifestAnswer>,
  ): Promise<ManifestAnswer> => {
    const name = JSON.stringify([key, ifNoneMatch]);
    const flying = running.get(name);
    if (flying !== undefined) return flying;
    const started = fetch()
      .then((answer) => {
        if (answer.status === 200 || answer.status === 304) kept.set(key, { ifNoneMatch, answer, at: now() });
        else kept.delete(key);
        return answer;
      })
      .finally(() => running.delete(name));
    running.set(name, started);
    return started;
  };

  return {
    async ask(question, fetch) {
      const found = keptFor(question);
      if (found !== undefined && now() - found.at < believedMs) return found.answer;
      // Older than what nginx has it is not: whoever asks without hurry has it forgotten.
      const newer = found?.answer.status === 200 ? found.answer : undefined;
      try {
        const answer = (await inHurry(start(question, fetch), question.hurry)) ?? newer;
        if (answer !== undefined) return answer;
      } catch (error) {
        if (newer === undefined || !(error instanceof OriginAway)) throw error;
        return newer;
      }
      throw new OriginAway('the line crawls, and there is no answer yet');
    },
    forget: (key) => void kept.delete(key),
  };
}
