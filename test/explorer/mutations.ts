import { collectBlob, mount, push, putBlob, reviewManifest, scrub } from './actors.ts';
import type { Fault } from './explore.ts';
import type { Mutation } from './product.ts';
import type { Scenario } from './scenario.ts';
import { createPairs, setting } from './scenarios.ts';

/** A rule of the protocol, broken, and where that has to be noticed. */
export interface BrokenRule {
  readonly mutations: readonly Mutation[];
  readonly scenario: Scenario;
  /** What a violation has to say. */
  readonly finds: RegExp;
}

const record = 'registry/store/record.ts';
const manifests = 'registry/store/put-manifest.ts';
const deletes = 'registry/store/delete-manifest.ts';
const tags = 'registry/store/tags.ts';
const commits = 'registry/store/blob-commit.ts';
const uploads = 'registry/store/uploads.ts';
const collects = 'registry/collect/collect-blob.ts';
const reviews = 'registry/collect/review-manifest.ts';
const scrubs = 'registry/collect/scrub.ts';

/** So that one fault is enough for an outcome that stays unknown. */
export const noResends: Mutation = {
  file: record,
  find: 'const resends = 6;',
  replace: 'const resends = 0;',
};

export function createBrokenRules(): Record<string, BrokenRule> {
  const pairs = createPairs();
  const { layer, image, other, blobThere, blobElsewhere, blobGone, untagged, scenario } = setting;
  const pair = (name: string, faults = 0, faultKinds: readonly Fault[] = ['applied']): Scenario => {
    const found = pairs[name];
    if (found === undefined) throw new Error(`there is no pair ${name}`);
    return { ...found, faults, faultKinds };
  };
  const push3 = push(image, { tag: 'v', blobsAreThere: true });
  const rules: Record<string, BrokenRule> = {
    'a push does not read the pointers after writing its references': {
      mutations: [{ file: manifests, find: 'await findFault(context, push, links)', replace: 'undefined' }],
      scenario: pair('push ‖ collect, blob there'),
      finds: /^loss: .* its blob/,
    },
    'a push does not compare the pointer’s generation with its link’s': {
      mutations: [
        {
          file: manifests,
          find: 'pointer === undefined || !opens(linkNow, pointer)',
          replace: 'pointer === undefined',
        },
      ],
      scenario: scenario([push3, putBlob(layer, 'putBlob', 'b')], blobGone),
      finds: /^right: /,
    },
    'a push commits without compare-and-set': {
      mutations: [
        {
          file: manifests,
          find: "claim,\n      { ...header, state: 'committed' },",
          replace:
            "await readManifestRecord(context, repository, digest),\n      { ...header, state: 'committed' },",
        },
      ],
      scenario: pair('push ‖ scrub'),
      finds: /^loss: .* its blob .*collection/,
    },
    'a push does not read the record again after its tag': {
      mutations: [
        {
          file: manifests,
          find: 'if (kept?.header.attempt === committed.header.attempt) break;',
          replace: 'if (kept !== undefined || committed !== undefined) break;',
        },
      ],
      scenario: pair('push ‖ delete'),
      finds: /^dangling: /,
    },
    'an attempt is used again': {
      mutations: [
        {
          file: manifests,
          find: 'const attempt = context.random();',
          replace: 'const attempt = digest.slice(7, 39);',
        },
      ],
      scenario: pair('push ‖ delete'),
      finds: /^loss: .* its blob .*collection/,
    },
    'a DELETE drops the references of every attempt': {
      mutations: [
        {
          file: deletes,
          find: 'await context.store.deleteMany(ownKeys(repository, digest, record, manifest));',
          replace: `for (const blob of childrenOf(manifest).blobs) {
            const page = await context.store.list({ prefix: \`refs/sha256/\${blob.slice(7)}/\${digest}\` });
            await context.store.deleteMany(page.objects.map(({ key }) => key));
          }
          if (context === undefined) ownKeys(repository, digest, record, manifest);`,
        },
      ],
      scenario: pair('push ‖ delete'),
      finds: /^loss: .* its blob .*collection/,
    },
    'a DELETE takes the tag whatever became of the record': {
      mutations: [
        {
          file: deletes,
          find: 'if (isReadable(record) && record.etag !== going?.etag) return;',
          replace: 'if (record === undefined && going === undefined) return;',
        },
      ],
      scenario: pair('push ‖ delete'),
      finds: /^loss: the tag v/,
    },
    'a DELETE takes the tag whatever version it is': {
      mutations: [
        {
          file: deletes,
          find: 'await buryTag(context, repository, entry.name, tag);',
          replace:
            'await buryTag(context, repository, entry.name, await readTag(context, repository, entry.name));',
        },
      ],
      scenario: pair('retag ‖ delete of the old manifest'),
      finds: /^loss: the tag v/,
    },
    'a tag is written again with its old nonce': {
      mutations: [
        {
          file: tags,
          find: 'if (condition !== undefined) checkCondition(old, condition);\n    const nonce = context.random();',
          replace:
            'if (condition !== undefined) checkCondition(old, condition);\n    const nonce = digest.slice(7, 39);',
        },
      ],
      scenario: pair('push ‖ delete'),
      finds: /^(?:loss: the tag v|dangling: )/,
    },
    'a retag writes no reverse entry': {
      mutations: [
        {
          file: tags,
          find: 'await putReferences(context, [reverse]);\n    const header =',
          replace: 'const header =',
        },
      ],
      scenario: pair('retag ‖ delete of the new manifest'),
      finds: /^dangling: /,
    },
    'a retag leaves the reverse entry of the version that it replaced': {
      mutations: [
        {
          file: tags,
          find: 'await dropReverse(context, repository, tag, old);\n    const left',
          replace: 'const left',
        },
      ],
      scenario: { ...pair('retag ‖ retag'), invariants: {} },
      finds: /^litter: /,
    },
    'an immutable tag is moved': {
      mutations: [
        {
          file: tags,
          find: 'if (condition !== undefined) checkCondition(old, condition);',
          replace: "if (condition?.message === '') checkCondition(old, condition);",
        },
      ],
      scenario: pair('immutable tag ‖ immutable tag'),
      finds: /^moved: /,
    },
    'a link is written blind': {
      mutations: [
        {
          file: 'registry/store/link.ts',
          find: 'linkKey(repository, digest), link, header)',
          replace: 'linkKey(repository, digest), await readLink(context, repository, digest), header)',
        },
      ],
      scenario: scenario([mount(layer, 'c', 'a'), collectBlob(layer), push(image)], blobElsewhere),
      finds: /^right: /,
    },
    'a mount does not ask for the generation it checked': {
      mutations: [
        {
          file: 'registry/store/blobs.ts',
          find: 'return linkBlob(context, repository, digest, { gen: pointer.header.gen });',
          replace: 'return linkBlob(context, repository, digest);',
        },
      ],
      scenario: scenario([mount(layer, 'a'), collectBlob(layer), putBlob(layer, 'putBlob', 'c')], blobThere, {
        // Whoever could read it in `a` could not read what was pushed to `c`.
        alsoCheck: ({ store }) => setting.rightOnlyFrom(store, 'b', 'c'),
      }),
      finds: /^right: /,
    },
    'a collector does not list again after condemning': {
      mutations: [
        {
          file: collects,
          find: "if (pointer.header?.state === 'condemned') {",
          replace: "if (pointer.header?.state === 'condemned' && options.graceMs > 0) {",
        },
        {
          file: collects,
          find: "return dryRun ? { outcome: 'deleted', size } : { outcome: 'deleting', digest, pointer, size };",
          replace: `if (pointer.header?.state === 'condemned') {
            const going = await setState(context, digest, pointer, 'deleting');
            if (going === undefined) return { outcome: 'changed' };
            pointer = going;
          }
          return dryRun ? { outcome: 'deleted', size } : { outcome: 'deleting', digest, pointer, size };`,
        },
      ],
      scenario: pair('push ‖ collect, blob there'),
      finds: /^loss: .* its blob/,
    },
    'a collector does not list again what a dead one condemned': {
      mutations: [
        {
          file: collects,
          find: 'if (await isReferenced()) {\n      // Not by the etag',
          replace:
            'if (pointer.modified === undefined && (await isReferenced())) {\n      // Not by the etag',
        },
      ],
      scenario: scenario([push3, collectBlob(layer), collectBlob(layer, 'collect 2')], blobThere),
      finds: /^loss: .* its blob/,
    },
    'a collector deletes without compare-and-set': {
      mutations: [
        {
          file: collects,
          find: "const deleting = await setState(context, digest, pointer, 'deleting');",
          replace:
            "const deleting = await setState(context, digest, { ...pointer, etag: (await readPointer(context, digest)).etag }, 'deleting');",
        },
      ],
      scenario: pair('push ‖ collect, blob there'),
      finds: /^loss: .* its blob/,
    },
    'a data key is used again': {
      mutations: [
        {
          file: 'registry/store/put-blob.ts',
          find: 'const key = dataKey(context.random());',
          replace: 'const key = dataKey(digest.slice(7, 39));',
        },
      ],
      scenario: scenario([push(image), collectBlob(layer), collectBlob(layer, 'collect 2')], blobThere),
      finds: /^loss: .* its blob .* has lost its bytes/,
    },
    'a reaper deletes bytes without fencing the pointer': {
      mutations: [
        {
          file: uploads,
          find: '!(await fenceOff(context, digest, key))',
          replace: '(await readPointer(context, digest)).header?.dataKey === key',
        },
        {
          file: uploads,
          find: "import { fenceOff } from './pointer.ts';",
          replace: "import { fenceOff, readPointer } from './pointer.ts';\nexport { fenceOff };",
        },
      ],
      scenario: pair('final PUT ‖ reaper'),
      finds: /^loss: finish was acknowledged/,
    },
    'a finisher does not look at his session again': {
      mutations: [
        {
          file: commits,
          find: 'commit.stillMine !== undefined && !(await commit.stillMine())',
          replace: 'commit.stillMine !== undefined && commit.size < 0',
        },
      ],
      scenario: pair('final PUT ‖ reaper'),
      finds: /^loss: finish was acknowledged/,
    },
    'the policy does not list again after condemning': {
      mutations: [
        {
          file: reviews,
          find: 'if (await isNeeded(context, repository, digest, record)) {\n    if (!dryRun)',
          replace: 'if (dryRun && (await isNeeded(context, repository, digest, record))) {\n    if (!dryRun)',
        },
      ],
      scenario: pair('push ‖ policy'),
      finds: /^(?:dangling|loss): /,
    },
    'the policy does not look for a subject': {
      mutations: [
        {
          file: reviews,
          find: '...(subject === undefined ? [] : [isThere(subject.digest)]),',
          replace: '...(subject === undefined || patience ? [] : [isThere(subject.digest)]),',
        },
        {
          file: reviews,
          find: 'async function isNeeded(',
          replace: 'const patience = true;\nasync function isNeeded(',
        },
      ],
      scenario: pair('referrer ‖ policy'),
      finds: /^loss: push was acknowledged/,
    },
    'the policy does not look for a parent': {
      mutations: [
        {
          file: reviews,
          find: 'hasKeys(context.store, manifestReferencesPrefix(repository, digest)),',
          replace: '',
        },
      ],
      scenario: pair('index ‖ policy on its child'),
      finds: /^loss: review removed/,
    },
    'an index does not look at its children after writing its references': {
      mutations: [
        {
          file: manifests,
          find: 'await inParallel(childrenOf(push.manifest).manifests, (child) =>\n      keepCommitted(context, repository, child),\n    );',
          replace: '',
        },
      ],
      scenario: pair('index ‖ policy on its child'),
      finds: /^loss: review removed/,
    },
    'the policy removes without compare-and-set': {
      mutations: [
        {
          file: reviews,
          find: 'if (!(await buryRecord(context, manifestKey(repository, digest), record)))',
          replace:
            'if (!(await buryRecord(context, manifestKey(repository, digest), await readManifestRecord(context, repository, digest))))',
        },
      ],
      scenario: pair('push ‖ policy'),
      finds: /^(?:loss|dangling): /,
    },
    'the scrub reads records before it lists': {
      mutations: [
        {
          file: scrubs,
          find: 'let attempt = header?.attempt;',
          replace: 'let attempt = known.get(context)?.get(record);',
        },
        {
          file: scrubs,
          find: '  let total = nothing;\n  for await (const { references } of walkReferences(context.store, {',
          replace: `  const attempts = new Map<string, string | undefined>();
          known.set(context, attempts);
          for await (const { key } of walkKeys(context.store, { prefix: 'repos/a/_manifests/' })) {
            const digest = key.slice('repos/a/_manifests/'.length) as Digest;
            const seen = await readManifestRecord(context, 'a', digest, { headerOnly: true });
            attempts.set(key, seen.header?.attempt);
          }
          let total = nothing;
          for await (const { references } of walkReferences(context.store, {`,
        },
        {
          file: scrubs,
          find: 'const entriesAtOnce = 1000;',
          replace:
            'const entriesAtOnce = 1000;\nconst known = new WeakMap<object, Map<string, string | undefined>>();',
        },
        {
          file: scrubs,
          find: "import { walkReferences, walkRepository } from './walk.ts';",
          replace: "import { walkKeys, walkReferences, walkRepository } from './walk.ts';",
        },
      ],
      scenario: scenario([push3, scrub(layer)], blobThere),
      finds: /^loss: .* its blob .*collection/,
    },
    'a claim is ended without compare-and-set': {
      mutations: [
        {
          file: scrubs,
          find: 'return options.dryRun === true || buryRecord(context, manifestKey(repository, digest), record);',
          replace:
            'return options.dryRun === true || buryRecord(context, manifestKey(repository, digest), await readManifestRecord(context, repository, digest));',
        },
      ],
      scenario: pair('push ‖ end of claims'),
      finds: /^(?:loss|dangling): /,
    },
    'the scrub does not fence a tag before it drops a reverse entry': {
      mutations: [
        {
          file: 'registry/collect/scrub-tags.ts',
          find: "if (!(await fenceTag(context, repository, name, tag))) return 'kept';",
          replace: "if (dryRun && !(await fenceTag(context, repository, name, tag))) return 'kept';",
        },
      ],
      scenario: { ...pair('retag ‖ scrub'), invariants: {} },
      finds: /^reverse: /,
    },
    'the scrub does not read the record after it fenced a tag': {
      mutations: [
        {
          file: tags,
          find: 'if ((await keepCommitted(context, repository, digest)) === undefined) {',
          replace: 'if (written.etag === undefined) {',
        },
      ],
      scenario: pair('delete ‖ scrub of stale reverse entries'),
      finds: /^dangling: /,
    },
    'an unknown outcome is taken for a loss': {
      mutations: [
        {
          file: record,
          find: 'if (!(error instanceof ObjectStoreUnavailable) || sent > resends) throw error;',
          replace:
            'if (!(error instanceof ObjectStoreUnavailable) || sent > resends) throw error;\n      return undefined;',
        },
      ],
      scenario: { ...pair('push ‖ end of claims', 1), actors: [push3] },
      finds: /^loss: .* its blob .*collection/,
    },
    'a second 412 is believed without a look at the nonce': {
      mutations: [
        {
          file: record,
          find: 'if (sent === 1) return undefined;',
          replace: 'if (sent > 0) return undefined;',
        },
      ],
      scenario: { ...pair('push ‖ end of claims', 1), actors: [push3] },
      finds: /^loss: .* its blob .*collection/,
    },
    'references are dropped after an unknown outcome': {
      mutations: [
        noResends,
        {
          file: manifests,
          find: '{ payload: push.bytes },\n    );',
          replace:
            '{ payload: push.bytes },\n    ).catch(async (error: unknown) => {\n      await context.store.deleteMany(references);\n      throw error;\n    });',
        },
      ],
      scenario: { ...pair('push ‖ end of claims', 1, ['late']), actors: [push3] },
      finds: /^loss: .* its blob .*collection/,
    },
    'a reverse entry is dropped after an unknown outcome': {
      mutations: [
        noResends,
        {
          file: tags,
          find: 'const written = await replaceRecord<TagHeader>(context, tagKey(repository, tag), old, header, { nonce });',
          replace:
            'const written = await replaceRecord<TagHeader>(context, tagKey(repository, tag), old, header, { nonce }).catch(async (error: unknown) => {\n      await context.store.delete(reverse);\n      throw error;\n    });',
        },
      ],
      scenario: { ...pair('push ‖ end of claims', 1, ['late']), actors: [push3], invariants: {} },
      finds: /^reverse: /,
    },
    'bytes are dropped after an unknown outcome': {
      mutations: [
        noResends,
        {
          file: commits,
          find: "'inline' in bytes ? { payload: bytes.inline } : {},\n    );",
          replace:
            "'inline' in bytes ? { payload: bytes.inline } : {},\n    ).catch(async (error: unknown) => {\n      if ('dataKey' in bytes) await bytes.discard();\n      throw error;\n    });",
        },
      ],
      scenario: { ...pair('blob ‖ blob', 1, ['late']), actors: [putBlob(layer), push(other)] },
      finds: /^loss: /,
    },
    'two policies, and one of them removes what the other turned back': {
      mutations: [
        {
          file: reviews,
          find: "if (!(await buryRecord(context, manifestKey(repository, digest), record))) return { outcome: 'changed' };",
          replace: 'await context.store.delete(manifestKey(repository, digest));',
        },
      ],
      scenario: scenario([push3, reviewManifest(image.digest)], untagged),
      finds: /^(?:loss|dangling): /,
    },
  };
  return rules;
}
