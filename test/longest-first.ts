import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take over half a minute, as three of them run at a time on two cores. Whatever starts last decides when the whole run ends, so these start first. */
const longest = [
  'test/integration/faults/kill.test.ts',
  'test/e2e/chain.test.ts',
  'test/e2e/deploy.test.ts',
  'test/integration/builder/catalog/base-images.test.ts',
  'test/integration/registry/soak.test.ts',
  'test/integration/registry/protocol/pairs.test.ts',
  'test/integration/builder/git-kill.test.ts',
  'test/integration/registry/replicas-redirect.test.ts',
  'test/integration/builder/docker-equality.test.ts',
  'test/e2e/pool-clients.test.ts',
  'test/integration/cli/serve.test.ts',
  'test/integration/registry/replicas-failures.test.ts',
  'test/integration/builder/worker/worker-processes.test.ts',
  'test/integration/registry/replicas.test.ts',
  'test/integration/registry/protocol/mutations.test.ts',
  'test/integration/registry/protocol/faults.test.ts',
  'test/integration/builder/docker-limits.test.ts',
  'test/integration/cli/images-import.test.ts',
  'test/integration/registry/collect.test.ts',
  'test/integration/faults/uploads.test.ts',
  'test/integration/builder/docker-caches.test.ts',
  'test/integration/builder/docker-sandbox-podman.test.ts',
  'test/e2e/clients.test.ts',
];

/**
 * The order in which test files start. A fresh checkout has no durations of an earlier run, and vitest would go by the size of the files.
 * Groups of projects (`sequence.groupOrder`) run one after the other, as always.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ project, moduleId }: TestSpecification): number => {
      const place = longest.indexOf(relative(project.config.root, moduleId));
      const { groupOrder } = project.config.sequence;
      return groupOrder * (longest.length + 1) + (place === -1 ? longest.length : place);
    };
    // Stable: the rest stays in vitest's own order.
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}
