import { describe } from 'vitest';
import { accessSuite } from './pool-engine/access.ts';
import { cacheSuite } from './pool-engine/cache.ts';
import type { EngineUnderTest } from './pool-engine/fixture.ts';
import { originAwaySuite } from './pool-engine/origin-away.ts';
import { originSideSuite } from './pool-engine/origin-side.ts';
import { pullSuite } from './pool-engine/pulls.ts';
import { tagSuite } from './pool-engine/tags.ts';

export type { EngineUnderTest } from './pool-engine/fixture.ts';

/** What every engine of a pool must do, against a real registry. */
export function poolEngineSuite(name: string, under: EngineUnderTest): void {
  describe(`${name} is a pool's engine`, () => {
    pullSuite(under);
    tagSuite(under);
    accessSuite(under);
    originSideSuite(under);
    originAwaySuite(under);
    cacheSuite(under);
  });
}
