import { defineConfig } from 'vitest/config';

// What needs Go: run by `npm run test:go`, and not by `npm test`.
export default defineConfig({
  test: { include: ['test/go/**/*.test.ts'], testTimeout: 120_000, hookTimeout: 900_000 },
});
