import type { DocumentFault } from '../../core/document/document.ts';
import type { AppFileResult } from '../appfile/appfile.ts';
import { appFileCodes } from '../appfile/codes.ts';
import { compileGlob } from './glob.ts';
import { createIgnore } from './select-source.ts';

/** Files of a project that hold something else than they seem to; paths as text, relative to its App.yaml. */
export interface OddFiles {
  readonly submodules: readonly string[];
  /** Files whose content is kept by Git LFS. */
  readonly pointers: readonly string[];
}

/** More of a kind are counted, not named. */
const most = 10;

/** Errors for what an image or its build would miss of the source. A .dockerignore that cannot be understood is another check's matter. */
export function sourceFaults(
  parsed: AppFileResult,
  odd: OddFiles,
  dockerignore?: string,
): readonly DocumentFault[] {
  const file = parsed.appfile;
  if (file === undefined || odd.submodules.length + odd.pointers.length === 0) return [];
  const { build, source } = file;
  const outputs = typeof build === 'object' && 'outputs' in build && build.outputs !== undefined;
  const include = (source?.include ?? (outputs ? [] : ['**'])).map(compileGlob);
  const exclude = (source?.exclude ?? []).map(compileGlob);
  const ignored = ignore(dockerignore);
  const enters = (path: string): boolean =>
    include.some((glob) => glob.matches(path)) &&
    !exclude.some((glob) => glob.matches(path)) &&
    !ignored(path);
  // Commands see the whole commit where there are outputs.
  const isSeen = (path: string): boolean =>
    (outputs || enters(path)) && !exclude.some((glob) => glob.matches(path)) && !ignored(path);
  const faults: DocumentFault[] = [];
  const fail = (message: string, hint: string): void => {
    const place = source === undefined ? [] : ['source'];
    faults.push(parsed.locate(place, { code: appFileCodes.source, message, hint }));
  };
  const submodules = odd.submodules.filter(isSeen);
  for (const path of submodules.slice(0, most)) {
    fail(
      `${JSON.stringify(path)} is a git submodule, which is not fetched`,
      `commit its files (git rm --cached, then git add), or write source: { exclude: [${JSON.stringify(path)}] } and fetch them in build commands`,
    );
  }
  const pointers = odd.pointers.filter(enters);
  for (const path of pointers.slice(0, most)) {
    fail(
      `${JSON.stringify(path)} is kept by Git LFS: a push brings a pointer, and the image would hold that`,
      'commit the file itself (git lfs untrack, then git add --renormalize), fetch it in build commands, or leave it out with source.exclude',
    );
  }
  const more = submodules.length + pointers.length - faults.length;
  if (more > 0) fail(`${more} more files are submodules or kept by Git LFS`, 'see the ones named');
  return faults;
}

function ignore(dockerignore: string | undefined): (path: string) => boolean {
  try {
    return dockerignore === undefined ? () => false : createIgnore(dockerignore);
  } catch (error) {
    if (error instanceof RangeError) return () => false;
    throw error;
  }
}
