import { expect, it } from 'vitest';
import { modeA, modeB } from '../../bench/soak/modes.ts';
import { describeFaults, soakTable } from '../../bench/soak/report.ts';
import { runSoak } from '../../bench/soak/run-soak.ts';

/** Of both modes together; the work around them takes about half a minute more. */
const seconds = Number(process.env['BRICKYARD_SOAK_SECONDS'] ?? 110);
const seed = process.env['BRICKYARD_TEST_SEED'] ?? Date.now().toString(36);
const say = (line: string): void => void process.stderr.write(`${line}\n`);

// `npm run bench:soak` does the same for longer.
it.each([
  // A blob is deleted a minute after it was last needed.
  ['with a grace that is longer than any push, no push fails', modeA, Math.round(seconds * 0.6)],
  ['without grace nothing is lost', modeB, Math.round(seconds * 0.4)],
] as const)(
  'replicas that are killed while everything is pushed, tagged, deleted, pulled and collected: %s',
  async (_, mode, duration) => {
    const result = await runSoak({ ...mode, store: 'ceph', seconds: duration, clients: 4, seed, say });

    say(soakTable([result]));
    expect(describeFaults(result)).toBe('');
    expect(result.verify.damage).toBe(0);
    const { counts } = result;
    expect(counts.pushes).toBeGreaterThan(10);
    expect(counts.replicasKilled).toBeGreaterThan(1);
    expect(counts.collections).toBeGreaterThan(2);
    // With a grace of a minute little is deleted in so short a time.
    if (mode.graceMs === 0) expect(counts.deletedBlobs).toBeGreaterThan(0);
    expect(counts.slowestPushMs).toBeLessThan(60_000);
  },
  seconds * 1000 + 300_000,
);
