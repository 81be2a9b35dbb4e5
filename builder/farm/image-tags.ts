import { createHash } from 'node:crypto';
import { type BuildRequest, isForkRef } from './build-request.ts';

/** Longer names are cut and get a suffix; a tag may have 128 characters. */
const longestName = 100;

/** A tag that a build wants to move. */
export interface WantedTag {
  readonly tag: string;
  /** Who owns it: another source's push never moves it. */
  readonly source: string;
}

/** What a build tags its image with. */
export interface ImageTags {
  /** Moved in the order of pushes. */
  readonly moving: readonly WantedTag[];
  /** Set once and never moved. */
  readonly fixed: readonly string[];
}

/**
 * A branch or git tag becomes an image tag by turning every character outside `[A-Za-z0-9_.-]` into `-`. Where that changed the name, or it is
 * over 100 characters, or could be taken for a commit's tag, 6 hex digits of the ref's SHA-256 tell it from others.
 */
export function tagOfRef(ref: string): string {
  const name = ref.replace(/^refs\/(?:heads|tags)\//, '');
  const clean = name
    .replace(/[^A-Za-z0-9_.-]/gu, '-')
    // A tag may not start with either.
    .replace(/^[.-]/, '_')
    .slice(0, longestName);
  if (clean === name && !/^[0-9a-f]{12}$/.test(name)) return clean;
  return `${clean}-${createHash('sha256').update(ref).digest('hex').slice(0, 6)}`;
}

/** `commit` is the commit itself also where the ref names a tag object. */
export function tagsOfBuild(request: BuildRequest, commit: string): ImageTags {
  const owner = `${request.team}/${request.app}`;
  if (isForkRef(request.ref)) {
    // Also not the commit's: the same commit may come to a branch, and is built with more rights then.
    const tag = request.ref.slice('refs/brickyard/'.length);
    return {
      moving: request.wave === undefined ? [{ tag, source: `${owner} ${request.ref}` }] : [],
      fixed: [],
    };
  }
  if (request.ref.startsWith('refs/brickyard/') && request.package === undefined) {
    const tag = request.tag ?? 'local';
    return {
      moving: request.wave === undefined ? [{ tag, source: `${owner} working tree` }] : [],
      fixed: [],
    };
  }
  if (request.wave !== undefined) return { moving: [], fixed: [fixedTag(commit, request.wave.baseKey)] };
  if (request.package !== undefined) {
    // Packages are releases: a working tree does not replace them, and each stays reachable by its content.
    const tag = request.tag ?? 'latest';
    return { moving: [{ tag, source: `${owner} package` }], fixed: [fixedTag(commit)] };
  }
  const moving: WantedTag[] = [{ tag: tagOfRef(request.ref), source: `${owner} ${request.ref}` }];
  if (request.defaultBranch && moving[0]?.tag !== 'latest') {
    moving.push({ tag: 'latest', source: `${owner} HEAD` });
  }
  return { moving, fixed: [fixedTag(commit)] };
}

/** The tag that names one image for ever: a commit, and where its base changed later also the base. */
export function fixedTag(commit: string, baseKey?: string): string {
  const short = commit.slice(0, 12);
  return baseKey === undefined ? short : `${short}-${baseKey}`;
}
