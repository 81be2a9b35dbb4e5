/** What the codes of `parseDocument` mean; every kind of file uses the same ones. */
export const documentCodes = {
  /** Not UTF-8, control characters, too large. */ encoding: 'E001',
  /** Not YAML. */ syntax: 'E002',
  /** A key stands twice in one map. */ duplicateKey: 'E003',
  /** YAML that is not accepted: tags, merge keys, several documents, too deep, too many aliases, keys that are no text. */
  unsupported: 'E004',
} as const;

/** At most this many faults of one kind of check are kept: nobody reads more, and hostile files could make millions. */
export const maxFaults = 100;
