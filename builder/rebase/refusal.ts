/** Why an image cannot be given another base. */
export type RefusalCode =
  /** It says `never`, or its base does. */
  | 'never'
  /** The bases do not promise the same. */
  | 'contract'
  /** The old base is not what lies under it. */
  | 'prefix'
  /** Layers, diffIDs or media types that do not fit together, or that nobody could read afterwards. */
  | 'content'
  /** Nothing says, or nobody knows any more, what it stands on. */
  | 'base'
  /** The new base has no image for its platform: building it again would not help either. */
  | 'platform';

export interface Refusal {
  readonly code: RefusalCode;
  /** For people: which check failed, and on what. */
  readonly reason: string;
}

/** Raised where a refusal ends the work on an image; the image is untouched. */
export class RebaseRefused extends Error {
  override readonly name = 'RebaseRefused';
  readonly code: RefusalCode;
  constructor({ code, reason }: Refusal, cause?: unknown) {
    super(reason, cause === undefined ? {} : { cause });
    this.code = code;
  }
}
