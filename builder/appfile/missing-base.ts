import type { DocumentFault } from '../../core/document/document.ts';
import type { AppFileResult } from './appfile.ts';
import { appFileCodes } from './codes.ts';
import { detectProject } from './detect-project.ts';

/**
 * The fault of a file that names no base image, where the server has no default for such files; it proposes one that fits
 * `fileNames`, the names at the top of the project. Undefined: the file names one, or has other errors to be mended first.
 */
export function missingBaseFault(
  result: AppFileResult,
  fileNames: readonly string[],
): DocumentFault | undefined {
  if (result.appfile === undefined || result.appfile.base !== undefined) return undefined;
  const { base, kind } = detectProject(fileNames);
  const hint =
    kind === 'unknown'
      ? 'write base: nodejs:26, or another one of "brickyard base ls"'
      : `write base: ${base}`;
  return result.locate([], { code: appFileCodes.base, message: 'no base image is named', hint });
}
