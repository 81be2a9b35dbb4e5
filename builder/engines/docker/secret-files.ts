import { Readable } from 'node:stream';
import type { StepSecrets } from '../engine.ts';
import { tarEnd, tarFile } from './tar-file.ts';
import { buildUser } from './workspace.ts';

/** Where commands find their secrets; no archive of a workspace reaches it. */
export const secretsFolder = '/run/secrets';

/** Files for the build user alone, for a volume at `secretsFolder`. Undefined: there is nothing to hand out. */
export function secretFiles(
  names: readonly string[] | undefined,
  secrets: StepSecrets | undefined,
): Readable | undefined {
  const files = (names ?? []).flatMap((name) => {
    const value = secrets?.values.get(name);
    return value === undefined ? [] : [{ name, value }];
  });
  if (files.length === 0) return undefined;
  const archive = (async function* () {
    for (const { name, value } of files) yield* tarFile(name, value, { mode: 0o400, owner: buildUser });
    yield tarEnd();
  })();
  return Readable.from(archive, { objectMode: false });
}
