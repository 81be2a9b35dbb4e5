/**
 * Where a queue keeps its jobs. Next to the record lie two empty objects, both written before it:
 * `open` until the job has ended, so that workers find what is to do without walking through history, and `order` for ever, named by the id
 * turned upside down, so that a forward listing (an object store has no other) gives the newest first.
 */
export interface JobKeys {
  record(id: string): string;
  readonly openPrefix: string;
  open(id: string): string;
  idOfOpen(key: string): string;
  readonly orderPrefix: string;
  order(id: string): string;
  idOfOrder(key: string): string;
  /** Topic on the event bus: queue-event.ts. */
  readonly topic: string;
  /** Hints of the store's own dispatch channel, and the topic of `{ worker, id }`. */
  readonly releasedPrefix: string;
  released(worker: string, id: string): string;
  ofReleased(key: string): { worker: string; id: string };
  readonly releasedTopic: string;
  /** What each worker last said of itself. */
  readonly workersPrefix: string;
  worker(id: string): string;
  /** Topic of what they say. */
  readonly workersTopic: string;
  /** Who decides which job is next, and what waits. */
  readonly dispatcher: string;
}

/** Time-ordered ids sort as text; no colon (BullMQ), no slash, short enough to be turned into hexadecimal in one part of a key. */
const ID = /^[0-9A-Za-z][0-9A-Za-z_.-]{0,119}$/;

export function createJobKeys(prefix: string): JobKeys {
  const name = prefix.replace(/\/$/, '').replaceAll('/', '-');
  const openPrefix = `queue/${name}/`;
  const orderPrefix = `queue-order/${name}/`;
  const releasedPrefix = `queue/${name}-released/`;
  const workersPrefix = `queue/${name}-workers/`;
  return {
    record: (id) => `${prefix}${checked(id)}`,
    openPrefix,
    open: (id) => `${openPrefix}${checked(id)}`,
    idOfOpen: (key) => key.slice(openPrefix.length),
    orderPrefix,
    order: (id) => `${orderPrefix}${upsideDown(checked(id))}`,
    idOfOrder: (key) => uprighted(key.slice(orderPrefix.length)),
    topic: `queue/${name}`,
    releasedPrefix,
    released: (worker, id) => `${releasedPrefix}${checked(worker)}/${checked(id)}`,
    ofReleased(key) {
      const [worker = '', id = ''] = key.slice(releasedPrefix.length).split('/');
      return { worker, id };
    },
    releasedTopic: `queue/${name}/released`,
    workersPrefix,
    worker: (id) => `${workersPrefix}${checked(id)}`,
    workersTopic: `queue/${name}/workers`,
    dispatcher: `queue/${name}-dispatcher`,
  };
}

export function isJobId(id: string): boolean {
  return ID.test(id);
}

function checked(id: string): string {
  if (!isJobId(id)) throw new TypeError(`not a job id: ${JSON.stringify(id.slice(0, 200))}`);
  return id;
}

/** Complement of each byte; `~` sorts behind every hexadecimal digit, as an id does before its own continuations. */
function upsideDown(id: string): string {
  return `${complement(Buffer.from(id)).toString('hex')}~`;
}

function uprighted(text: string): string {
  return complement(Buffer.from(text.slice(0, -1), 'hex')).toString();
}

function complement(bytes: Buffer): Buffer {
  return Buffer.from(bytes.map((byte) => 255 - byte));
}
