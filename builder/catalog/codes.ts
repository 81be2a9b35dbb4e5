import { schemaCodes } from '../../core/document/check-schema.ts';
import { documentCodes } from '../../core/document/document-codes.ts';

/** Every code that a fault of a catalog may have; docs/base-images.md explains them. */
export const catalogCodes = {
  ...documentCodes,
  ...schemaCodes,
  /** A channel of a name that another entry has. */ channelTaken: 'E301',
  /** Not exactly one of parent, debian and image. */ bottom: 'E302',
  /** An entry that is its own parent. */ ownParent: 'E303',
  /** A parent, or a replacement, that is not in the catalog. */ noParent: 'E304',
  /** A channel that the parent does not have. */ noChannel: 'E305',
  /** Parents in a circle. */ circle: 'E306',
  /** Too many levels. */ tooDeep: 'E307',
  /** Keys that do not go together. */ together: 'E308',
  /** A source: not exactly one coordinate, no checksum, a name twice, something that cannot be unpacked. */ source:
    'E309',
  /** static.sh or runtime.sh. */ script: 'E310',
  /** Days of a deprecation. */ deprecation: 'E311',
  /** A rule of catalog.yaml's `policy`. */ policy: 'E312',
  /** A place in the image that a source may not have. */ place: 'E313',
  /** Accepted, but probably not meant. */ advice: 'W301',
  /** An entry that another catalog's entry stands in for. */ covered: 'W302',
} as const;
