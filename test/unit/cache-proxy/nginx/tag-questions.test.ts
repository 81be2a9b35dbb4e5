import { setImmediate as settled } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ManifestAnswer } from '../../../../cache-proxy/fetch/fetch-manifest.ts';
import { OriginAway } from '../../../../cache-proxy/fetch/origin-link.ts';
import { createTagQuestions, type TagQuestions } from '../../../../cache-proxy/nginx/tag-questions.ts';

const clock = { now: 0 };
let questions: TagQuestions;
beforeEach(() => {
  clock.now = 0;
  questions = createTagQuestions(() => clock.now);
});

/** A question whose answer comes when the test says so. */
function registry() {
  const answers: PromiseWithResolvers<ManifestAnswer>[] = [];
  return {
    answers,
    fetch: (): Promise<ManifestAnswer> => {
      const answer = Promise.withResolvers<ManifestAnswer>();
      answers.push(answer);
      return answer.promise;
    },
  };
}
const old = { key: 'team/app|v1|-m---', ifNoneMatch: '"old"', hurry: 1 };
const moved: ManifestAnswer = { status: 200, headers: { etag: '"new"' }, body: Buffer.from('{}') };
const same: ManifestAnswer = { status: 304, headers: { etag: '"old"' }, body: Buffer.of() };
const missing: ManifestAnswer = { status: 404, headers: {}, body: Buffer.of() };

describe('tags over a line that crawls', () => {
  it('asks once for all, lets nobody wait, and has the answer for the next', async () => {
    const { answers, fetch } = registry();

    const asked = await Promise.allSettled([questions.ask(old, fetch), questions.ask(old, fetch)]);
    expect(asked.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(questions.ask(old, fetch)).rejects.toBeInstanceOf(OriginAway);
    expect(answers).toHaveLength(1);
    answers[0]?.resolve(moved);
    await settled();

    expect(await questions.ask(old, fetch)).toBe(moved);
    // Whoever has it by now need not be told again.
    expect(await questions.ask({ ...old, ifNoneMatch: '"new"' }, fetch)).toMatchObject({ status: 304 });
    expect(answers).toHaveLength(1);
  });

  it('asks again after five seconds, and keeps what moved until somebody comes for it', async () => {
    const { answers, fetch } = registry();
    await expect(questions.ask(old, fetch)).rejects.toBeInstanceOf(OriginAway);
    answers[0]?.resolve(moved);
    await settled();

    clock.now += 600_000;

    expect(await questions.ask(old, fetch)).toBe(moved);
    expect(answers).toHaveLength(2);
    answers[1]?.reject(new OriginAway('broke off'));
    await settled();
    expect(await questions.ask(old, () => Promise.reject(new OriginAway('refused')))).toBe(moved);
  });

  it('gives no answer that the registry has taken back, or that is of a quicker time', async () => {
    const { answers, fetch } = registry();
    await expect(questions.ask(old, fetch)).rejects.toBeInstanceOf(OriginAway);
    answers[0]?.resolve(moved);
    await settled();
    clock.now += 10_000;
    expect(await questions.ask(old, async () => missing)).toBe(missing);
    await expect(questions.ask(old, fetch)).rejects.toBeInstanceOf(OriginAway);
    answers[1]?.resolve(moved);
    await settled();

    questions.forget(old.key);

    await expect(questions.ask(old, fetch)).rejects.toBeInstanceOf(OriginAway);
  });

  it('takes an answer that comes in time, and the failure', async () => {
    expect(await questions.ask({ ...old, hurry: 60_000 }, async () => same)).toBe(same);
    questions.forget(old.key);
    const broken = questions.ask({ ...old, hurry: 60_000 }, () => Promise.reject(new Error('a bug')));
    await expect(broken).rejects.toThrow('a bug');
  });
});
