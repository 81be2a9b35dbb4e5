import { randomBytes } from 'node:crypto';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import type { WaveDocument, WaveImage } from './wave.ts';

/** The document of the wave that this worker runs. */
export interface OpenWave {
  readonly document: WaveDocument;
  /** Remembers what came of an image; stored a little later, as every step can be repeated. */
  update(index: number, change: Partial<WaveImage>): void;
  /** Stored when it resolves. */
  save(change?: Partial<Omit<WaveDocument, 'images'>>): Promise<void>;
}

/** Milliseconds between two writes of a wave's progress: a document of ten thousand images is megabytes. */
const saveEveryMs = 500;

const keyOf = (id: string): string => `wave-images/${id}`;

/** Undefined: not begun yet, or no such wave. */
export async function readWaveDocument(store: ObjectStore, id: string): Promise<WaveDocument | undefined> {
  return (await load(store, id))?.document;
}

/**
 * The document as an earlier attempt left it, else what `create` gives, stored before anything is done by it.
 * Errors: PreconditionFailed when another worker writes it.
 */
export async function openWave(
  store: ObjectStore,
  id: string,
  create: () => Promise<WaveDocument>,
): Promise<OpenWave> {
  const known = await load(store, id);
  let document = known?.document ?? (await create());
  let etag = known?.etag;
  let writing = Promise.resolve();
  let saved = performance.now();

  const write = async (): Promise<void> => {
    const nonce = randomBytes(16).toString('hex');
    const body = Buffer.from(JSON.stringify({ state: 'wave', nonce, ...document }));
    saved = performance.now();
    ({ etag } = await store.put(
      keyOf(id),
      body,
      etag === undefined ? { ifNoneMatch: '*' } : { ifMatch: etag },
    ));
  };
  const save = (): Promise<void> => {
    const run = writing.then(write);
    writing = run.catch(() => {});
    return run;
  };
  if (known === undefined) await save();

  return {
    get document() {
      return document;
    },
    update(index, change) {
      document = {
        ...document,
        images: document.images.with(index, { ...document.images[index], ...change } as WaveImage),
      };
      if (performance.now() - saved > saveEveryMs) {
        saved = performance.now();
        // Whether it can be stored at all, `save` at the end says.
        save().catch(() => {});
      }
    },
    save(change) {
      document = { ...document, ...change };
      return save();
    },
  };
}

async function load(
  store: ObjectStore,
  id: string,
): Promise<{ document: WaveDocument; etag: string } | undefined> {
  const object = await store.get(keyOf(id));
  if (object === undefined) return undefined;
  const { images, canaryDone } = JSON.parse(object.body.toString('utf8')) as WaveDocument;
  return {
    document: { images, ...(canaryDone === undefined ? {} : { canaryDone }) },
    etag: object.etag,
  };
}
