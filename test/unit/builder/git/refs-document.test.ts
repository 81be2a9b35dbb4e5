import { describe, expect, it } from 'vitest';
import { applyPush, commitPush, readRefs, zeroId } from '../../../../builder/git/refs-document.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';

const a = 'a'.repeat(40);
const b = 'b'.repeat(40);
const facts = { pusher: 'dev', options: [], packs: ['p'], ids: new Map() };
const repository = { team: 'team', app: 'app' };
const create = (ref: string, after = a) => ({ ref, before: zeroId, after });

describe('the refs document', () => {
  it('takes pushes of different refs at the same time, each with a number of its own', async () => {
    const store = createMemoryStore();

    const results = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        commitPush(store, repository, [create(`refs/heads/b${index}`)], { ...facts, packs: [`p${index}`] }),
      ),
    );

    expect(results.every(({ refusals }) => refusals === undefined)).toBe(true);
    const { document } = await readRefs(store, 'team', 'app');
    expect(Object.keys(document.refs)).toHaveLength(20);
    expect(document.sequence).toBe(20);
    expect(new Set(document.packs).size).toBe(20);
    expect(new Set(Object.values(document.refs).map(({ sequence }) => sequence)).size).toBe(20);
  });

  it('lets exactly one of many pushes from the same value win', async () => {
    const store = createMemoryStore();

    const results = await Promise.all(
      Array.from({ length: 9 }, (_, index) =>
        commitPush(store, repository, [create('refs/heads/main', String(index + 1).repeat(40))], facts),
      ),
    );

    expect(results.filter(({ refusals }) => refusals === undefined)).toHaveLength(1);
  });

  it('keeps numbers rising over a deletion', () => {
    const start = { head: 'refs/heads/main', sequence: 0, refs: {}, packs: [] };
    let document = start as Parameters<typeof applyPush>[0];
    for (const command of [
      create('refs/heads/x'),
      { ref: 'refs/heads/x', before: a, after: zeroId },
      create('refs/heads/x', b),
    ]) {
      const next = applyPush(document, [command], facts);
      if ('refusals' in next) throw new Error('refused');
      document = next.document;
    }

    expect(document.refs['refs/heads/x']?.sequence).toBe(3);
  });

  it.each([
    ['refs/heads/a', 'refs/heads/a/b'],
    ['refs/heads/a/b/c', 'refs/heads/a'],
  ])('refuses %s and %s together', (first, second) => {
    const start = { head: 'refs/heads/main', sequence: 0, refs: {}, packs: [] };

    expect(applyPush(start, [create(first), create(second)], facts)).toHaveProperty('refusals');
  });

  it('knows no ref by the names of object methods', () => {
    const start = { head: 'refs/heads/main', sequence: 0, refs: {}, packs: [] };

    const next = applyPush(start, [create('refs/heads/__proto__'), create('refs/heads/toString')], facts);

    expect('document' in next && Object.keys(next.document.refs)).toEqual([
      'refs/heads/__proto__',
      'refs/heads/toString',
    ]);
  });

  it('points HEAD to main, else to the first branch that was pushed, and leaves it there', () => {
    const start = { head: 'refs/heads/main', sequence: 0, refs: {}, packs: [] };
    const other = applyPush(start, [create('refs/tags/v1'), create('refs/heads/trunk')], facts);
    if ('refusals' in other) throw new Error('refused');

    const later = applyPush(other.document, [create('refs/heads/main')], facts);

    expect(other.document.head).toBe('refs/heads/trunk');
    expect('document' in later && later.document.head).toBe('refs/heads/trunk');
  });

  it('keeps the newest working trees only', () => {
    let document: Parameters<typeof applyPush>[0] = {
      head: 'refs/heads/main',
      sequence: 0,
      refs: {},
      packs: [],
    };
    for (let index = 0; index < 30; index++) {
      const next = applyPush(document, [create(`refs/brickyard/t${index}`)], facts);
      if ('refusals' in next) throw new Error('refused');
      document = next.document;
    }

    expect(Object.keys(document.refs)).toHaveLength(20);
    expect(document.refs['refs/brickyard/t29']).toBeDefined();
    expect(document.refs['refs/brickyard/t9']).toBeUndefined();
  });

  it('keeps packages apart from working trees, and many more of them', () => {
    const names = (kind: string, count: number): string[] =>
      Array.from({ length: count }, (_, index) => `refs/brickyard/${kind}${index}`);
    const refs = [...names('package-', 510), ...names('t', 30)];
    let document: Parameters<typeof applyPush>[0] = {
      head: 'refs/heads/main',
      sequence: 0,
      refs: {},
      packs: [],
    };
    for (const ref of refs) {
      const next = applyPush(document, [create(ref)], facts);
      if ('refusals' in next) throw new Error('refused');
      document = next.document;
    }

    const kept = Object.keys(document.refs);
    expect(kept.filter((ref) => ref.includes('package-'))).toEqual(names('package-', 510).slice(10));
    expect(kept.filter((ref) => !ref.includes('package-'))).toEqual(names('t', 30).slice(10));
  });
});
