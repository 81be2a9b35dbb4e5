import { Readable } from 'node:stream';
import type { ActorTools } from './actor.ts';
import {
  cancelUpload,
  collectBlob,
  deleteBlob,
  deleteManifest,
  deleteRepository,
  deleteTag,
  expireClaim,
  finishUpload,
  mount,
  patchUpload,
  pull,
  push,
  putBlob,
  reapSession,
  reviewManifest,
  scrub,
  scrubTagEntries,
} from './actors.ts';
import { blobOf, imageOf, indexOf, type PushedManifest } from './content.ts';
import type { Scenario } from './scenario.ts';
import { childrenIn, isManifestReadable, readableManifests, readStored } from './stored.ts';
import type { StoreState } from './world.ts';

const layer = blobOf('layer');
const small = blobOf('small', 100);
const image = imageOf('image', [layer]);
const other = imageOf('other', [layer]);
const signature = imageOf('signature', [layer], image);
const index = indexOf('index', [image]);

type Step = (tools: ActorTools) => Promise<unknown>;

const inOrder =
  (...steps: readonly Step[]): ((tools: ActorTools) => Promise<void>) =>
  async (tools) => {
    for (const step of steps) await step(tools);
  };

const blobThere: Step = ({ registry }) => registry.putBlob('a', layer.digest, layer.bytes);
const smallThere: Step = ({ registry }) => registry.putBlob('a', small.digest, small.bytes);
const put =
  (manifest: PushedManifest, reference: string = manifest.digest): Step =>
  ({ registry }) =>
    registry.putManifest('a', reference, manifest.bytes, manifest.mediaType);
const tagged = inOrder(blobThere, put(image, 'v'));
const untagged = inOrder(blobThere, put(image));

/** A collector that dies after so many of its steps on the blob: condemned after 1, in deletion after 2. */
const dyingCollector =
  (writes: number): Step =>
  async (tools) => {
    let left = writes;
    const put: typeof tools.store.put = async (...args) => {
      if (left-- > 0) return tools.store.put(...args);
      throw new Error('dead');
    };
    const store = { ...tools.store, put, deleteMany: () => Promise.reject(new Error('dead')) };
    await tools.product
      .collectBlob({ ...tools.context, store }, layer.digest, { graceMs: 0 })
      .catch(() => {});
  };

/** Gone, and the repository's link to it a dead one. */
const blobGone = inOrder(blobThere, ({ product, context }) =>
  product.collectBlob(context, layer.digest, { graceMs: 0 }),
);

const blobElsewhere: Step = ({ registry }) => registry.putBlob('c', layer.digest, layer.bytes);

/** One full collection as the last word: dead attempts, untagged manifests are kept, every blob. */
async function collectAll({ product, context, store }: ActorTools): Promise<void> {
  const expire = { claimsOlderThanMs: 0 };
  for (const repository of ['a', 'b']) {
    await product.scrub.scrubManifestReferences(context, repository, expire);
    await product.scrub.scrubReferrers(context, repository, expire);
    await product.scrubTags(context, repository);
  }
  const { objects } = await store.list({ prefix: 'blobs/' });
  for (const { key } of objects) {
    const digest = `sha256:${key.split('/')[2]}` as typeof layer.digest;
    await product.scrub.scrubBlobReferences(context, digest, expire);
    await product.collectBlob(context, digest, { graceMs: 0 });
  }
}

/** An open upload session, its bytes in it when `written`. The id is known once the beginning was run. */
function withSession(written: boolean, blob = layer): { begin: Step; id: () => string } {
  let id = '';
  return {
    id: () => id,
    async begin({ registry }) {
      id = (await registry.startUpload('a')).id;
      if (written) await registry.writeUpload('a', id, Readable.from([blob.bytes]));
    },
  };
}

/** What pushes leave that died between a reverse entry and its tag. */
const stale = ['0', '1'].map((nonce) => `${image.digest}/v#${nonce.repeat(32)}`);
const staleReverse: Step = async ({ store }) => {
  for (const key of stale) await store.put(`repos/a/_tagsof/${key}`, Buffer.alloc(0));
};

/** A committed index keeps the children that are there. */
function keepsChildren(from: StoreState, to: StoreState, actor: string): string[] {
  if (from === to || actor !== 'review') return [];
  const kept = readableManifests(from)
    .filter(({ payload }) => childrenIn(payload).manifests.includes(image.digest))
    .some(() => isManifestReadable(from, 'a', image.digest) && !isManifestReadable(to, 'a', image.digest));
  return kept ? [`loss: ${actor} removed the child of an index`] : [];
}

/** Records go first and links after them, so that a push in between has its links for a while. */
const leaving: Partial<Scenario> = { invariants: { linksMayGo: 'for a while' } };
const bounded: Partial<Scenario> = { ...leaving, maxPreemptions: 2 };

const pushImage = push(image, { tag: 'v' });
const pushAgain = push(image, { tag: 'v', name: 'push 2' });
const known = { tag: 'v', blobsAreThere: true } as const;

function scenario(actors: Scenario['actors'], before?: Step, more: Partial<Scenario> = {}): Scenario {
  const begin = before === undefined ? {} : { before: inOrder(before) };
  return { actors, ...begin, collect: collectAll, ...more };
}

/** Two at a time, every interleaving. */
export function createPairs(): Record<string, Scenario> {
  const open = withSession(false);
  const full = withSession(true);
  const tiny = withSession(true, small);
  return {
    'push ‖ collect, nothing there': scenario([pushImage, collectBlob(layer)]),
    'push ‖ collect, blob there': scenario([pushImage, collectBlob(layer)], blobThere),
    'push ‖ collect, blob condemned by a dead collector': scenario(
      [pushImage, collectBlob(layer)],
      inOrder(blobThere, dyingCollector(1)),
    ),
    'push ‖ collect, blob in deletion by a dead collector': scenario(
      [pushImage, collectBlob(layer)],
      inOrder(blobThere, dyingCollector(2)),
    ),
    'push ‖ collect, a LIST gives one key': scenario([pushImage, collectBlob(layer)], blobThere, {
      store: { pageSize: 1 },
    }),
    'push of a small blob ‖ collect': scenario(
      [push(imageOf('small', [small]), { tag: 'v' }), collectBlob(small)],
      smallThere,
    ),
    'push ‖ push of one manifest': scenario([pushImage, pushAgain], blobThere),
    'push ‖ delete': scenario([pushImage, deleteManifest(image.digest)], tagged),
    'push twice ‖ delete': scenario(
      [push(image, { ...known, twice: true }), deleteManifest(image.digest)],
      tagged,
    ),
    'push ‖ scrub': scenario([push(image, known), scrub(layer)], blobThere),
    'push ‖ end of claims': scenario([push(image, known), expireClaim(image.digest)], blobThere),
    'delete ‖ delete': scenario(
      [deleteManifest(image.digest), deleteManifest(image.digest, 'delete 2')],
      tagged,
    ),
    'delete ‖ scrub': scenario([deleteManifest(image.digest), scrub(layer)], tagged),
    'delete ‖ scrub of stale reverse entries': scenario(
      [deleteManifest(image.digest), scrubTagEntries(stale)],
      inOrder(tagged, staleReverse),
      { maxPreemptions: 3 },
    ),
    'retag ‖ scrub of stale reverse entries': scenario(
      [push(other, known), scrubTagEntries(stale)],
      inOrder(tagged, put(other), staleReverse),
    ),
    'policy ‖ scrub of stale reverse entries': scenario(
      [reviewManifest(image.digest), scrubTagEntries(stale)],
      inOrder(tagged, staleReverse),
      {
        alsoCheck: ({ store }) =>
          isManifestReadable(store, 'a', image.digest) ? [] : ['loss: a tagged manifest'],
      },
    ),
    'retag ‖ retag': scenario(
      [push(image, known), push(other, { ...known, name: 'push 2' })],
      inOrder(untagged, put(other)),
    ),
    'retag ‖ delete of the old manifest': scenario(
      [push(other, known), deleteManifest(image.digest)],
      tagged,
    ),
    'retag ‖ delete of the new manifest': scenario(
      [push(other, known), deleteManifest(other.digest)],
      inOrder(tagged, put(other)),
    ),
    'retag ‖ delete tag': scenario([push(other, known), deleteTag('v')], tagged),
    'retag ‖ scrub': scenario([push(other, known), scrub(layer)], inOrder(tagged, put(other))),
    'retag ‖ pull': scenario([push(other, known), pull('v')], tagged),
    'delete tag ‖ delete': scenario([deleteTag('v'), deleteManifest(image.digest)], tagged),
    'immutable tag ‖ immutable tag': scenario(
      [
        push(image, { ...known, immutable: true, mayFail: ['DENIED'] }),
        push(other, { ...known, immutable: true, name: 'push 2', mayFail: ['DENIED'] }),
      ],
      inOrder(untagged, put(other)),
    ),
    'immutable tag ‖ immutable tag, a deleted one before': scenario(
      [
        push(image, { ...known, immutable: true, mayFail: ['DENIED'] }),
        push(other, { ...known, immutable: true, name: 'push 2', mayFail: ['DENIED'] }),
      ],
      inOrder(untagged, put(other, 'v'), ({ registry }) => registry.deleteTag('a', 'v')),
    ),
    'referrer ‖ delete of the subject': scenario(
      [push(signature, { blobsAreThere: true }), deleteManifest(image.digest)],
      tagged,
    ),
    'referrer ‖ delete of the referrer': scenario(
      [push(signature, { blobsAreThere: true }), deleteManifest(signature.digest)],
      inOrder(tagged, put(signature)),
    ),
    'referrer ‖ scrub': scenario([push(signature, { blobsAreThere: true }), scrub(layer)], tagged),
    'referrer ‖ policy': scenario(
      [push(signature, { blobsAreThere: true }), reviewManifest(signature.digest)],
      inOrder(tagged, put(signature)),
    ),
    'index ‖ delete of its child': scenario(
      [push(index, { tag: 'v' }), deleteManifest(image.digest)],
      untagged,
    ),
    'index ‖ policy on its child': scenario(
      [push(index, { tag: 'v' }), reviewManifest(image.digest)],
      untagged,
      { checkStep: keepsChildren },
    ),
    'index ‖ scrub': scenario([push(index, { tag: 'v' }), scrub(layer)], untagged),
    'push ‖ policy': scenario([push(image, known), reviewManifest(image.digest)], untagged),
    'retag ‖ policy on the old manifest': scenario(
      [push(other, known), reviewManifest(image.digest)],
      tagged,
    ),
    'policy ‖ policy': scenario(
      [reviewManifest(image.digest), reviewManifest(image.digest, 'review 2')],
      untagged,
    ),
    'mount ‖ delete blob': scenario([mount(layer, 'a'), deleteBlob(layer)], blobThere),
    'mount without from ‖ delete blob': scenario([mount(layer, undefined), deleteBlob(layer)], blobThere),
    'mount ‖ collect': scenario([mount(layer, 'a'), collectBlob(layer)], blobThere),
    'mount ‖ mount': scenario([mount(layer, 'a'), mount(layer, 'a', 'b', 'mount 2')], blobThere),
    'push ‖ delete blob': scenario([pushImage, deleteBlob(layer)], blobThere, {
      invariants: { linksMayGo: true },
    }),
    'blob ‖ blob': scenario([putBlob(layer), putBlob(layer, 'putBlob 2')]),
    'small blob ‖ small blob': scenario([putBlob(small), putBlob(small, 'putBlob 2')]),
    'blob ‖ collect': scenario([putBlob(layer), collectBlob(layer)], blobThere),
    'collect ‖ collect': scenario([collectBlob(layer), collectBlob(layer, 'collect 2')], blobThere),
    'pull ‖ collect': scenario([pull('v'), collectBlob(layer)], tagged),
    'PATCH ‖ PATCH': scenario(
      [
        finishUpload({ name: 'finish', id: open.id, blob: layer, patch: true }),
        finishUpload({ name: 'finish 2', id: open.id, blob: blobOf('fayer'), patch: true }),
      ],
      open.begin,
    ),
    'PATCH ‖ PATCH of an upload with bytes': scenario(
      [
        patchUpload(full.id, small.bytes, layer.bytes.length, 'patch'),
        patchUpload(full.id, small.bytes, layer.bytes.length, 'patch 2'),
      ],
      full.begin,
    ),
    'PATCH ‖ final PUT': scenario(
      [
        patchUpload(full.id, small.bytes, layer.bytes.length, 'patch'),
        finishUpload({ name: 'finish', id: full.id, blob: layer }),
      ],
      full.begin,
    ),
    'final PUT ‖ the same': scenario(
      [
        finishUpload({ name: 'finish', id: full.id, blob: layer }),
        finishUpload({ name: 'finish 2', id: full.id, blob: layer }),
      ],
      full.begin,
    ),
    'final PUT with body ‖ cancel': scenario(
      [finishUpload({ name: 'finish', id: open.id, blob: layer, body: true }), cancelUpload(open.id)],
      open.begin,
    ),
    'final PUT ‖ cancel': scenario(
      [finishUpload({ name: 'finish', id: full.id, blob: layer }), cancelUpload(full.id)],
      full.begin,
    ),
    'final PUT ‖ reaper': scenario(
      [finishUpload({ name: 'finish', id: full.id, blob: layer }), reapSession(full.id)],
      full.begin,
    ),
    'final PUT of a small blob ‖ reaper': scenario(
      [finishUpload({ name: 'finish', id: tiny.id, blob: small }), reapSession(tiny.id)],
      tiny.begin,
    ),
    'cancel ‖ reaper': scenario([cancelUpload(full.id), reapSession(full.id)], full.begin),
    'final PUT ‖ blob': scenario(
      [finishUpload({ name: 'finish', id: full.id, blob: layer }), putBlob(layer)],
      full.begin,
    ),
    'final PUT ‖ collect': scenario(
      [finishUpload({ name: 'finish', id: full.id, blob: layer }), collectBlob(layer)],
      inOrder(full.begin, ({ registry }) => registry.putBlob('b', layer.digest, layer.bytes)),
    ),
    'push ‖ delete repository': scenario([push(image, known), deleteRepository()], tagged, bounded),
    'push ‖ delete repository, blob there': scenario(
      [push(image, known), deleteRepository()],
      blobThere,
      bounded,
    ),
    'blob ‖ delete repository': scenario([putBlob(layer), deleteRepository()], tagged, leaving),
    'mount ‖ delete repository': scenario(
      [mount(layer, 'c', 'a'), deleteRepository()],
      inOrder(tagged, blobElsewhere),
      leaving,
    ),
    'mount from ‖ delete repository': scenario([mount(layer, 'a'), deleteRepository()], tagged, leaving),
    'delete ‖ delete repository': scenario(
      [deleteManifest(image.digest), deleteRepository()],
      tagged,
      leaving,
    ),
    'retag ‖ delete repository': scenario([push(other, known), deleteRepository()], tagged, {
      ...bounded,
      maxPreemptions: 1,
    }),
    'index ‖ delete repository': scenario([push(index, { tag: 'w' }), deleteRepository()], tagged, {
      ...bounded,
      maxPreemptions: 1,
    }),
    'delete repository ‖ delete repository': scenario(
      [deleteRepository(), deleteRepository('delete repository 2')],
      tagged,
      bounded,
    ),
    'delete repository ‖ scrub': scenario([deleteRepository(), scrub(layer)], tagged, leaving),
    'delete repository ‖ collect': scenario([deleteRepository(), collectBlob(layer)], tagged, leaving),
  };
}

/** `there` may open what was pushed to `home` and to nowhere else. */
function rightOnlyFrom(store: StoreState, there: string, home: string): string[] {
  const link = readStored(store, `repos/${there}/_blobs/${layer.digest}`);
  const pointer = readStored(store, `blobs/sha256/${layer.digest.slice(7)}`);
  const isHome = (pointer?.header as { home?: string } | undefined)?.home === home;
  if (link === undefined || !isHome || link.header.gen !== pointer?.header.gen) return [];
  return [`right: ${there} opens what was pushed to ${home}`];
}

/** Three and more: too many interleavings to see them all. */
export function createCrowds(): Record<string, Scenario> {
  const full = withSession(true);
  const push2 = push(image, { ...known, name: 'push 2' });
  const gc = collectBlob(layer);
  const gc2 = collectBlob(layer, 'collect 2');
  const remove = deleteManifest(image.digest);
  const finish = (name: string) => finishUpload({ name, id: full.id, blob: layer });
  const fixed = (manifest: PushedManifest, name: string) =>
    push(manifest, { ...known, immutable: true, name, mayFail: ['DENIED'] });
  return {
    'push ‖ delete ‖ collect': scenario([pushImage, remove, gc], tagged),
    'push ‖ push ‖ collect ‖ scrub': scenario([pushImage, pushAgain, gc, scrub(layer)], blobThere),
    'push ‖ push ‖ delete ‖ collect ‖ scrub': scenario(
      [pushImage, pushAgain, remove, gc, scrub(layer)],
      tagged,
    ),
    'push ‖ delete ‖ delete ‖ scrub ‖ collect ‖ collect': scenario(
      [pushImage, remove, deleteManifest(image.digest, 'delete 2'), scrub(layer), gc, gc2],
      tagged,
    ),
    'retag ‖ retag ‖ delete ‖ policy ‖ scrub': scenario(
      [
        push(other, { ...known, name: 'push other' }),
        push2,
        remove,
        reviewManifest(image.digest, 'review', { untagged: true }),
        scrub(layer),
      ],
      inOrder(tagged, put(other)),
    ),
    'retag ‖ delete tag ‖ delete ‖ collect': scenario(
      [push(other, known), deleteTag('v'), remove, gc],
      tagged,
    ),
    'index ‖ policy on the child ‖ scrub ‖ collect': scenario(
      [push(index, { tag: 'w' }), reviewManifest(image.digest), scrub(layer), gc],
      untagged,
      { checkStep: keepsChildren },
    ),
    'index ‖ delete of the child ‖ push of the child ‖ scrub': scenario(
      [push(index, { tag: 'w' }), remove, push2, scrub(layer)],
      untagged,
    ),
    'referrer ‖ policy ‖ scrub ‖ collect': scenario(
      [push(signature, { blobsAreThere: true }), reviewManifest(signature.digest), scrub(layer), gc],
      inOrder(tagged, put(signature)),
    ),
    'referrer ‖ delete of the referrer ‖ scrub': scenario(
      [push(signature, { blobsAreThere: true }), deleteManifest(signature.digest), scrub(layer)],
      inOrder(tagged, put(signature)),
    ),
    'mount ‖ delete blob ‖ collect ‖ push': scenario(
      [mount(layer, 'a'), deleteBlob(layer), gc, push(other, { repository: 'b', tag: 'v' })],
      blobThere,
    ),
    'blob ‖ mount ‖ collect ‖ collect ‖ push': scenario(
      [putBlob(layer), mount(layer, 'a'), gc, gc2, push(other, { repository: 'b', tag: 'v' })],
      blobElsewhere,
    ),
    'final PUT ‖ the same ‖ reaper ‖ collect': scenario(
      [finish('finish'), finish('finish 2'), reapSession(full.id), gc],
      full.begin,
    ),
    'final PUT ‖ blob ‖ cancel ‖ push': scenario(
      [finish('finish'), putBlob(layer), cancelUpload(full.id), push(image, { tag: 'v' })],
      full.begin,
    ),
    'final PUT ‖ reaper ‖ push ‖ collect ‖ collect': scenario(
      [finish('finish'), reapSession(full.id), pushImage, gc, gc2],
      full.begin,
      { store: { uploads: 'open' } },
    ),
    'immutable tag ‖ immutable tag ‖ immutable tag ‖ scrub': scenario(
      [fixed(image, 'push'), fixed(other, 'push 2'), fixed(image, 'push 3'), scrub(layer)],
      inOrder(untagged, put(other)),
    ),
    'push ‖ delete repository ‖ collect': scenario([pushImage, deleteRepository(), gc], tagged, leaving),
    'push ‖ retag ‖ delete repository ‖ scrub ‖ collect': scenario(
      [pushImage, push(other, { tag: 'v', name: 'push other' }), deleteRepository(), scrub(layer), gc],
      tagged,
      leaving,
    ),
    'push ‖ delete repository ‖ delete repository ‖ mount': scenario(
      [pushImage, deleteRepository(), deleteRepository('delete repository 2'), mount(layer, 'a')],
      tagged,
      leaving,
    ),
  };
}

/** For tests that put other actors together. */
export const setting = {
  layer,
  small,
  image,
  other,
  signature,
  index,
  blobThere,
  blobElsewhere,
  blobGone,
  tagged,
  untagged,
  put,
  inOrder,
  scenario,
  rightOnlyFrom,
};
