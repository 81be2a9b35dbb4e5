import { describe, expect, it } from 'vitest';
import { compileTagGlob, createPromotionPolicy } from '../../../../registry/promote/promotion-policy.ts';

describe('a promotion policy', () => {
  it('protects the tags that its rules name, in the repositories that they name', () => {
    const policy = createPromotionPolicy([
      { repositories: ['team/**', 'shop/web'], tags: ['prod*', 'v1.0'], require: 'tests' },
      { repositories: 'shop/*', tags: 'live', require: 'none' },
    ]);

    expect(policy.protects('team/a/b', 'prod-eu')).toBe(true);
    expect(policy.protects('shop/web', 'v1.0')).toBe(true);
    expect(policy.protects('shop/web', 'v1x0')).toBe(false);
    expect(policy.protects('shop/api', 'prod')).toBe(false);
    expect(policy.concerns('shop/api')).toBe(true);
    expect(policy.concerns('other/api')).toBe(false);
    expect(policy.rulesFor('shop/web', 'live')).toHaveLength(1);
  });

  it('reads capitals and everything but stars as they are', () => {
    expect(compileTagGlob('Prod-*')('Prod-EU')).toBe(true);
    expect(compileTagGlob('Prod-*')('prod-EU')).toBe(false);
    expect(compileTagGlob('*')('')).toBe(true);
    expect(compileTagGlob('a.b')('a-b')).toBe(false);
  });
});
