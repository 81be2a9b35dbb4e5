import { isTag } from '../../oci/reference.ts';

export interface PushOptions {
  readonly skip: boolean;
  readonly nowait: boolean;
  readonly tag?: string;
  /** What to tell the pusher about options that mean nothing here. */
  readonly complaints: readonly string[];
}

/** What `git push -o` may say to the farm. */
export function parsePushOptions(options: readonly string[]): PushOptions {
  const complaints: string[] = [];
  let skip = false;
  let nowait = false;
  let tag: string | undefined;
  for (const option of options) {
    if (option === 'build.skip') skip = true;
    else if (option === 'build.nowait') nowait = true;
    else if (option.startsWith('tag=') && isTag(option.slice(4))) tag = option.slice(4);
    else {
      complaints.push(
        `push option ${JSON.stringify(option.slice(0, 80))} is not known: build.skip, build.nowait and tag=NAME are`,
      );
    }
  }
  return { skip, nowait, complaints, ...(tag === undefined ? {} : { tag }) };
}
