import { describe, expect, it } from 'vitest';
import { createOpenJobs } from '../../../../core/queue/open-jobs.ts';
import { suitePolicy } from '../../../suites/job-queue.ts';

const hints = { attempts: 0, strikes: 0 };
const queued = { state: 'queued', lookedAt: 0 } as const;

describe('what a dispatcher keeps in mind', () => {
  it('stays bounded, and a flood of one tenant does not hide the others', () => {
    const jobs = createOpenJobs(suitePolicy, 1000);
    for (let index = 0; index < 5000; index++) {
      jobs.note(`a-${String(index).padStart(4, '0')}`, { ...hints, tenant: 'greedy' }, queued);
    }
    expect(jobs.size).toBe(1000);

    const modest = jobs.note('b', { ...hints, tenant: 'modest' }, queued);

    expect(modest).toBeDefined();
    expect(jobs.size).toBeLessThanOrEqual(1000);
    // The oldest of the greedy one's stay.
    expect(jobs.get('a-0000')).toBeDefined();
    expect(jobs.get('a-0999')).toBeUndefined();
  });

  it('gives out what may begin, the oldest first', () => {
    const jobs = createOpenJobs(suitePolicy);
    for (const id of ['c', 'a', 'd', 'b']) jobs.note(id, hints, queued);
    jobs.note('a', hints, { ...queued, state: 'running', worker: 'w' });
    jobs.note('d', hints, { ...queued, notBefore: 100 });

    expect(jobs.waiting(99).map(({ id }) => id)).toEqual(['b', 'c']);
    expect(jobs.waiting(100).map(({ id }) => id)).toEqual(['b', 'c', 'd']);
    expect(jobs.active().map(({ id }) => id)).toEqual(['a']);
  });

  it('takes an unknown lane for the first one', () => {
    const jobs = createOpenJobs(suitePolicy);
    expect(jobs.note('a', { ...hints, lane: 'odd' }, queued)?.lane).toBe('interactive');
    expect(jobs.note('b', { ...hints, lane: 'rebuild' }, queued)?.lane).toBe('rebuild');
  });

  it('knows which waiting jobs of a group are outdated, whatever came first', () => {
    const jobs = createOpenJobs(suitePolicy);
    const note = (id: string, sequence: number | undefined, group = 'g') =>
      jobs.note(id, { ...hints, group, ...(sequence === undefined ? {} : { sequence }) }, queued);
    note('newest', 9);
    note('old', 3);
    note('running', 2);
    note('unnumbered', undefined);
    note('same', 9);
    note('other', 1, 'h');
    jobs.note('running', hints, { ...queued, state: 'running' });

    expect(jobs.outdated('g').map(({ old, by }) => [old.id, by])).toEqual([['old', 'newest']]);
    expect(jobs.outdated('h')).toEqual([]);
  });

  it('forgets what it knew of a worker when the job waits again', () => {
    const jobs = createOpenJobs(suitePolicy);
    jobs.note('a', hints, { ...queued, state: 'released', worker: 'w' });
    const job = jobs.note('a', hints, queued);
    expect(job?.worker).toBeUndefined();
    expect(jobs.active()).toEqual([]);
  });

  it('counts what waits by tenant and lane, the most first', () => {
    const jobs = createOpenJobs(suitePolicy);
    for (const id of ['a', 'b']) jobs.note(id, { ...hints, tenant: 'shop', lane: 'branch' }, queued);
    jobs.note('c', { ...hints, tenant: 'shop' }, { ...queued, lookedAt: 30 });
    jobs.note('d', { ...hints, tenant: 'shop' }, { ...queued, state: 'running' });

    expect(jobs.summary(50)).toEqual({
      flows: [
        { tenant: 'shop', lane: 'branch', jobs: 2, oldestMs: 50 },
        { tenant: 'shop', lane: 'interactive', jobs: 1, oldestMs: 20 },
      ],
      jobs: 3,
      running: 1,
    });
  });
});
