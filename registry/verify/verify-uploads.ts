import { walkKeys } from '../collect/walk.ts';
import { uploadsPrefix } from '../store/paths.ts';
import { doneSessionLifetime, type SessionHeader } from '../store/upload-session.ts';
import { type Finding, finding } from './finding.ts';
import { forEachParallel } from './for-each-parallel.ts';
import type { Lookups } from './lookups.ts';
import type { Verification } from './verification.ts';

const hour = 60 * 60 * 1000;
/** The reaper's age for a session that nobody touches, and of one whose finisher died. */
const idleMilliseconds = 24 * hour;

/** Sessions that nobody goes on with, and the bytes that sessions name. */
export async function verifyUploads(verification: Verification): Promise<void> {
  const { context, counts, examiner, named, parallel } = verification;
  await forEachParallel(walkKeys(context.store, { prefix: uploadsPrefix }), parallel, async (object) => {
    counts.uploads++;
    verification.progress('uploads');
    const age = context.clock() - object.modified.getTime();
    const dataKeys: string[] = [];
    await examiner.examine((look) => checkUpload(object.key, age, look, (key) => dataKeys.push(key)));
    for (const key of new Set(dataKeys)) await named.add(key);
  });
}

async function checkUpload(
  key: string,
  age: number,
  look: Lookups,
  onDataKey: (key: string) => void,
): Promise<Finding[]> {
  const { header } = await look.record<SessionHeader>(key);
  if (header === undefined) return [];
  onDataKey(header.dataKey);
  const limit =
    header.state === 'done' ? 2 * doneSessionLifetime : header.state === 'reaping' ? hour : idleMilliseconds;
  if (age < limit) return [];
  return [finding('stuck-upload', key, `${header.state}, ${Math.round(age / hour)} hours`, header.nonce)];
}
