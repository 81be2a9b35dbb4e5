import { isUtf8 } from 'node:buffer';
import { compileGlob, type Glob } from './glob.ts';
import type { BuildPlan, SourceSelection } from './plan.ts';
import type { SourceEntry } from './source-tree.ts';

/** Larger .dockerignore files are none. */
export const maxIgnoreFileBytes = 1024 * 1024;

/** Everything; what a build that declares outputs sees of the commit. */
export const wholeSource: SourceSelection = { include: ['**'], exclude: [] };

/**
 * What the build container gets of the commit. With outputs it is the whole commit; without, what the build leaves behind is
 * the image, so files that `source` leaves out must not be there in the first place.
 */
export function workspaceSelection(plan: BuildPlan): SourceSelection {
  return plan.build !== undefined && Object.keys(plan.build.outputs).length > 0 ? wholeSource : plan.source;
}

/** What of the commit is laid into the image directly, beside what commands and scripts made. */
export function imageSelection(plan: BuildPlan): SourceSelection {
  return plan.staticScript === undefined ? contentSelection(plan) : { include: [], exclude: [] };
}

/** What of the commit belongs into the image; a script that `static` names works on it before it is laid there. */
export function contentSelection(plan: BuildPlan): SourceSelection {
  const fromBuild = plan.build !== undefined && Object.keys(plan.build.outputs).length === 0;
  return fromBuild ? { include: [], exclude: [] } : plan.source;
}

/** For an error about a submodule that is selected: git's own empty directory in its place would only fail later. */
export const submoduleReason =
  'it is a git submodule, which is not fetched: commit its files (git rm --cached it, then git add), fetch them in build commands, or leave it out with source.exclude';

/**
 * The entries that a build container gets. A submodule that `source` leaves out is no fault here either, where all of the commit is
 * given. Errors: as `selectSource`.
 */
export function selectWorkspace(
  entries: readonly SourceEntry[],
  plan: BuildPlan,
  dockerignore?: string,
): SelectedSource {
  const exclude = plan.source.exclude.map(compileGlob);
  const wanted = entries.filter(
    ({ kind, path }) => kind !== 'submodule' || !exclude.some((glob) => glob.matches(pathText(path))),
  );
  return selectSource(wanted, workspaceSelection(plan), dockerignore);
}

export interface SelectedSource {
  /** In the order given. */
  readonly entries: readonly SourceEntry[];
  /** Selected, but not possible in an image: the build must fail and say so. */
  readonly refused: readonly { readonly path: string; readonly reason: string }[];
}

/**
 * The entries that `selection` and the text of `.dockerignore` leave. `.git` and `.brickyard` at the top never enter.
 * Errors: RangeError for a pattern that is none (App.yaml's were checked before; .dockerignore's were not).
 */
export function selectSource(
  entries: readonly SourceEntry[],
  selection: SourceSelection,
  dockerignore?: string,
): SelectedSource {
  const include = selection.include.map(compileGlob);
  const exclude = selection.exclude.map(compileGlob);
  const ignored = dockerignore === undefined ? () => false : createIgnore(dockerignore);
  const selected: SourceEntry[] = [];
  const refused: { path: string; reason: string }[] = [];
  for (const entry of entries) {
    const path = pathText(entry.path);
    if (/^\.(?:git|brickyard)(?:\/|$)/i.test(path) || !include.some((glob) => glob.matches(path))) continue;
    if (ignored(path) || exclude.some((glob) => glob.matches(path))) continue;
    const reason = entry.kind === 'submodule' ? submoduleReason : refusePath(entry.path);
    if (reason === undefined) selected.push(entry);
    else refused.push({ path, reason });
  }
  return { entries: selected, refused };
}

/** The raw bytes of a path as text for patterns and messages: UTF-8 where it is, else each byte as one character. */
export function pathText(path: string): string {
  const bytes = Buffer.from(path, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : path;
}

/**
 * Why a relative path (raw bytes as latin1, as in `SourceEntry.path`) may not be laid into an image, or undefined. The same
 * rules hold for files from a commit and for those that a build container hands out.
 */
export function refusePath(path: string): string | undefined {
  if (path === '' || path.startsWith('/')) return 'the path is empty or absolute';
  if (path.includes('\0')) return 'the path holds a NUL';
  if (path.length > 4095) return 'the path has more than 4095 bytes';
  for (const part of path.split('/')) {
    if (part === '' || part === '.' || part === '..') return 'the path holds an empty part, "." or ".."';
    if (part.length > 255) return 'a part of the path has more than 255 bytes';
    // OCI image-spec, layer.md "Whiteouts": such a file would delete one of the base image when the layers are laid over one another.
    if (part.startsWith('.wh.')) return 'a name that begins with ".wh." deletes files of the base image';
  }
  return undefined;
}

/**
 * .dockerignore (docs.docker.com, "dockerignore files"): one pattern a line, `#` comments, `!` takes back, the last match wins.
 * Errors: RangeError as `compileGlob`, and for more than 1000 patterns.
 */
export function createIgnore(text: string): (path: string) => boolean {
  const rules: { glob: Glob; ignore: boolean }[] = [];
  for (const raw of text.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    if (raw.startsWith('#')) continue;
    const line = raw.trim();
    const pattern = line.startsWith('!') ? line.slice(1).trim() : line;
    // "." and "/" would ignore the whole context; docker drops such lines too.
    if (pattern === '' || /^[./]*$/.test(pattern)) continue;
    if (rules.length >= 1000) throw new RangeError('.dockerignore has more than 1000 patterns');
    rules.push({ glob: compileGlob(pattern), ignore: !line.startsWith('!') });
  }
  return (path) => {
    let ignore = false;
    for (const rule of rules) if (rule.ignore !== ignore && rule.glob.matches(path)) ignore = rule.ignore;
    return ignore;
  };
}
