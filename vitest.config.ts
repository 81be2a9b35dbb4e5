import { defineConfig } from 'vitest/config';

// Unit tests touch no network and start no process; integration tests use loopback and the machine's own
// programs (git, nginx, …); e2e tests start the built service and real clients.
export default defineConfig({
  test: {
    passWithNoTests: false,
    allowOnly: false,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          testTimeout: 10_000,
          // No module keeps state, so files may share a worker: a third of the time went into loading the same modules again.
          isolate: false,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // Half of the time these wait, for servers that start and disks that sync; by itself one would run after the other on two cores.
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
