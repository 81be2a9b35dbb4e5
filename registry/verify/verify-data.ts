import type { ListedObject } from '../../core/object-store/object-store.ts';
import { walkKeys } from '../collect/walk.ts';
import { uploadsPrefix } from '../store/paths.ts';
import type { SessionHeader } from '../store/upload-session.ts';
import { finding } from './finding.ts';
import { createFreshLookups, UnreadableRecord } from './lookups.ts';
import type { Verification } from './verification.ts';

/** Looked at once more together. */
const candidatesAtOnce = 10_000;

/** Bytes that nothing names. Comes after pointers and sessions were read, so whatever is unnamed is younger than that, or garbage. */
export async function verifyData(verification: Verification): Promise<void> {
  const { context, counts, named, youngMs } = verification;
  const since = context.clock() - youngMs;
  let candidates: ListedObject[] = [];
  for await (const object of walkKeys(context.store, { prefix: 'data/' })) {
    counts.dataObjects++;
    counts.dataBytes += object.size;
    verification.progress('data');
    if (object.modified.getTime() > since || (await named.has(object.key))) continue;
    candidates.push(object);
    if (candidates.length < candidatesAtOnce) continue;
    await report(verification, candidates);
    candidates = [];
  }
  await report(verification, candidates);
}

/** An upload that was finished meanwhile may be older than it looks; its session still names its bytes for an hour. */
async function report(verification: Verification, candidates: readonly ListedObject[]): Promise<void> {
  if (candidates.length === 0) return;
  const look = createFreshLookups(verification.context);
  const needed = new Set<string>();
  for await (const { key } of walkKeys(verification.context.store, { prefix: uploadsPrefix })) {
    try {
      const { header } = await look.record<SessionHeader>(key);
      if (header !== undefined) needed.add(header.dataKey);
    } catch (error) {
      // Told of already.
      if (!(error instanceof UnreadableRecord)) throw error;
    }
  }
  for (const { key, size } of candidates) {
    // Small chunks of an upload wait below its data key (S3).
    if (!needed.has(key.split('/', 3).join('/')))
      verification.report(finding('unnamed-data', key, `${size} bytes`));
  }
}
