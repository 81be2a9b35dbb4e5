/**
 * damage: something that was acknowledged cannot be read, or nothing protects it from collection any more.
 * garbage: nobody misses it; collection and scrub take it. note: worth knowing, and nothing is wrong with the store.
 */
export type Severity = 'damage' | 'garbage' | 'note';

/** Every kind of thing that a verification tells of; `meaning` is for people. */
export const findingKinds = {
  'unreadable-record': { severity: 'damage', meaning: 'an object whose content cannot be understood' },
  'dangling-tag': { severity: 'damage', meaning: 'a tag whose manifest is not there' },
  'tag-without-reverse': {
    severity: 'damage',
    meaning: 'a tag that deleting its manifest would not find, and that keeps its manifest from no clean-up',
  },
  'wrong-manifest': { severity: 'damage', meaning: 'a manifest whose bytes are not those of its digest' },
  'missing-child': { severity: 'damage', meaning: 'a manifest of which a layer or config cannot be read' },
  'missing-reference': {
    severity: 'damage',
    meaning: 'a manifest whose layer, config or child is not protected from collection',
  },
  'missing-data': { severity: 'damage', meaning: 'a blob whose bytes are not there' },
  'wrong-size': { severity: 'damage', meaning: 'a blob that has more or fewer bytes than it should' },
  'wrong-bytes': { severity: 'damage', meaning: 'a blob whose bytes are not those of its digest' },
  'wrong-referrer': { severity: 'damage', meaning: 'a listed referrer that is not what its manifest says' },

  'reverse-without-tag': {
    severity: 'garbage',
    meaning: 'the reverse of a version of a tag that is no more',
  },
  'dead-reference': { severity: 'garbage', meaning: 'a reference of a push that failed or was deleted' },
  'dead-referrer': { severity: 'garbage', meaning: 'a referrer of a push that failed or was deleted' },
  'abandoned-push': { severity: 'garbage', meaning: 'a manifest that somebody began to push' },
  'unneeded-blob': { severity: 'garbage', meaning: 'a blob that no manifest needs' },
  'half-deleted-blob': { severity: 'garbage', meaning: 'a blob whose deletion was begun' },
  'unnamed-data': { severity: 'garbage', meaning: 'bytes that neither a blob nor an upload names' },
  'stuck-upload': { severity: 'garbage', meaning: 'an upload that nobody goes on with' },

  'deleted-child': { severity: 'note', meaning: 'a manifest of which a client deleted a layer or config' },
  'missing-blob': {
    severity: 'note',
    meaning:
      'a manifest pushed without a layer or config (registry.allowMissingBlobs), or mirrored before it',
  },
  'missing-index-child': { severity: 'note', meaning: 'an index of which a manifest is not there' },
  'missing-referrer': {
    severity: 'note',
    meaning: 'a manifest that is not listed as a referrer: its push was not finished',
  },
  'dead-link': { severity: 'note', meaning: 'the right to read a blob that is no more' },
  'unlisted-repository': {
    severity: 'note',
    meaning: 'a repository that is not in the catalog: no push to it was finished',
  },
  'empty-repository': { severity: 'note', meaning: 'a repository in the catalog that holds nothing' },
  'unknown-key': { severity: 'note', meaning: 'an object that this version does not know' },
} as const satisfies Record<string, { severity: Severity; meaning: string }>;

export type FindingKind = keyof typeof findingKinds;

export interface Finding {
  readonly kind: FindingKind;
  readonly severity: Severity;
  /** Of the object that is wrong or superfluous. */
  readonly key: string;
  /** What exactly; empty where kind and key say it all. */
  readonly detail: string;
  /** Of the version that was looked at: the same fault of another version is another one. */
  readonly version: string;
}

export function finding(kind: FindingKind, key: string, detail = '', version = ''): Finding {
  return { kind, severity: findingKinds[kind].severity, key, detail, version };
}

export function isSameFinding(a: Finding, b: Finding): boolean {
  return a.kind === b.kind && a.key === b.key && a.version === b.version && a.detail === b.detail;
}
