import type { Place } from '../../helpers/network-lab.ts';
import { type RunningProcess, waitFor } from '../../helpers/process.ts';

/** Resolves when something at `url` answers `place`, whatever it answers. Errors: the program ended, with what it printed. */
export async function untilReachable(
  place: Place,
  { url, what, program }: { url: string; what: string; program: RunningProcess },
): Promise<void> {
  let ended = false;
  void program.ended.then(() => {
    ended = true;
  });
  await waitFor(
    async () => {
      const { code } = await place.run('curl', ['--silent', '--max-time', '5', '--output', '/dev/null', url]);
      return code === 0;
    },
    { what, gaveUp: () => (ended ? `it ended:\n${program.output()}` : undefined) },
  );
}
