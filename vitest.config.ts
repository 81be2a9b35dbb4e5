import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/longest-first.ts';

// Unit tests touch no network and start no process; integration tests use loopback and the machine's own
// programs (git, nginx, …); e2e tests start the built service and real clients.
//
// Integration and e2e tests wait a third of their time, for servers that start and disks that sync: three files at a time keep two cores
// busy, where vitest by itself would run one.
const setupFiles = ['test/equal-bytes.ts'];
const waiting = { maxWorkers: 3, sequence: { groupOrder: 1 }, setupFiles };

export default defineConfig({
  test: {
    passWithNoTests: false,
    allowOnly: false,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'unit',
          setupFiles,
          include: ['test/unit/**/*.test.ts'],
          testTimeout: 10_000,
          // No module keeps state, so files may share a worker: a third of the time went into loading the same modules again.
          isolate: false,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...waiting,
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          ...waiting,
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
