import { isTag } from '../../oci/reference.ts';
import { type PackageNote, parsePackageOption } from '../package/package-note.ts';

export interface PushOptions {
  readonly skip: boolean;
  readonly nowait: boolean;
  readonly tag?: string;
  /** The commit was made of a package. Not a person's to say: the package service writes it. */
  readonly package?: PackageNote;
  /** What to tell the pusher about options that mean nothing here. */
  readonly complaints: readonly string[];
}

/** What `git push -o` may say to the farm. */
export function parsePushOptions(options: readonly string[]): PushOptions {
  const complaints: string[] = [];
  let skip = false;
  let nowait = false;
  let tag: string | undefined;
  let note: PackageNote | undefined;
  for (const option of options) {
    if (option === 'build.skip') skip = true;
    else if (option === 'build.nowait') nowait = true;
    else if (option.startsWith('tag=') && isTag(option.slice(4))) tag = option.slice(4);
    else if (parsePackageOption(option) !== undefined) note = parsePackageOption(option);
    else {
      complaints.push(
        `push option ${JSON.stringify(option.slice(0, 80))} is not known: build.skip, build.nowait and tag=NAME are`,
      );
    }
  }
  return {
    skip,
    nowait,
    complaints,
    ...(tag === undefined ? {} : { tag }),
    ...(note === undefined ? {} : { package: note }),
  };
}
