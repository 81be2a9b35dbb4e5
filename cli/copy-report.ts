import { UserError } from '../core/user-error.ts';
import { CopyAborted, CopyFault } from '../oci/copy/copy-fault.ts';
import type { CopyReport } from '../oci/copy/copy-repositories.ts';
import type { CopyCounts } from '../oci/copy/counts.ts';
import { isOciError } from '../oci/errors.ts';
import { formatBytes, withoutControls } from './text.ts';

/** Addresses or folders, for what is said of them. */
export interface CopySides {
  readonly source: string;
  readonly target: string;
}

/** What ended a copy, in words and with the next step; anything that is no fault of a registry comes back as it is. */
export function explainCopy(error: unknown, sides: CopySides): unknown {
  if (error instanceof CopyAborted) {
    return new UserError('interrupted; what is complete stays, and the same command goes on from there', {
      exitCode: 130,
      cause: error,
    });
  }
  if (!(error instanceof CopyFault)) return error;
  const { side, subject, cause } = error;
  const where = sides[side];
  const say = (text: string): UserError => new UserError(withoutControls(text), { cause: error });
  if (isOciError(cause, 'UNAUTHORIZED')) {
    return say(
      `${where} wants you to sign in: brickyard login ${where}   (what docker login keeps is used too)`,
    );
  }
  if (isOciError(cause, 'DENIED')) {
    const what = side === 'source' ? 'read there' : 'push there';
    return say(
      `${where} does not let you ${what}: ${error.message}   (at a Brickyard, brickyard can-i says why)`,
    );
  }
  if (isOciError(cause, 'UNAVAILABLE') || isOciError(cause, 'TOOMANYREQUESTS')) {
    return say(
      `${where} does not answer as it should: ${error.message}; the same command goes on from there`,
    );
  }
  if (isOciError(cause, 'MANIFEST_UNKNOWN') || isOciError(cause, 'NAME_UNKNOWN')) {
    return say(`${where} has no such image: ${subject.replace(/^manifest /, '')}`);
  }
  return say(`${where}: ${error.message}`);
}

/** `3 blobs copied (1.2 MB), 4 mounted, 2 there` */
export function describeCounts({ blobs, bytes, manifests, referrers }: CopyCounts): string {
  const parts = [`${plural(blobs.copied, 'blob')} copied (${formatBytes(bytes.copied)})`];
  if (blobs.mounted > 0) parts.push(`${blobs.mounted} mounted`);
  if (blobs.present > 0) parts.push(`${blobs.present} already there`);
  if (manifests.copied === 0) parts.push('no manifest was new');
  if (referrers > 0)
    parts.push(plural(referrers, 'signature or other referrer', 'signatures or other referrers'));
  return parts.join(', ');
}

/** The end of a run over many images. Errors: UserError where something failed, after everything was printed. */
export function finishReport(
  report: CopyReport,
  sides: CopySides,
  print: { readonly stdout: (text: string) => void; readonly stderr: (text: string) => void },
  { json, dryRun }: { readonly json: boolean; readonly dryRun: boolean },
): void {
  const { repositories, images, counts, failures, notices, unlisted, ended } = report;
  for (const { image, notice } of notices) print.stderr(`note: ${withoutControls(`${image}: ${notice}`)}\n`);
  for (const { image, side, reason } of failures)
    print.stderr(`failed: ${withoutControls(`${image}: ${side}: ${reason}`)}\n`);
  if (unlisted > 0) print.stderr(`… and ${unlisted} more\n`);
  if (json) {
    const words = ended === undefined ? {} : { ended: ended.message };
    const body = { dryRun, repositories, images, ...counts, failures, notices, unlisted, ...words };
    print.stdout(`${JSON.stringify(body, undefined, 2)}\n`);
  } else {
    const all = [plural(repositories, 'repository', 'repositories'), plural(images, 'image')].join(', ');
    print.stdout(`${dryRun ? 'would be: ' : ''}${all}: ${describeCounts(counts)}\n`);
  }
  if (ended !== undefined) throw explainCopy(ended, sides);
  const failed = failures.length + unlisted;
  if (failures.length > 0)
    throw new UserError(`${plural(failed, 'image')} could not be copied; the others are there`);
}

function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
