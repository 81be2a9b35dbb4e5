import type { Http } from './fault-http.ts';
import { unexpected } from './fault-model.ts';
import type { Content, Random } from './fault-random.ts';

/** An upload session as its client remembers it; what the server acknowledged must never be taken back. */
export interface FaultUpload {
  readonly repository: string;
  readonly content: Content;
  /** Bytes of one PATCH; `undefined`: all of it in one stream of unknown length. */
  readonly chunk: number | undefined;
  /** The last piece goes with the final PUT. */
  readonly lastWithPut: boolean;
  location: string | undefined;
  /** Bytes that the server has acknowledged. */
  acknowledged: number;
  /** A final PUT was sent and its answer was lost. */
  finishing: boolean;
  finished: boolean;
  /** How often the server said after a failure where to go on. */
  resumed: number;
}

export function planUpload(repository: string, content: Content, random: Random): FaultUpload {
  const chunk = random.chance(0.5)
    ? undefined
    : random.between(32 * 1024, Math.max(64 * 1024, content.size / 3));
  return {
    repository,
    content,
    chunk: chunk === undefined ? undefined : Math.floor(chunk),
    lastWithPut: random.chance(0.5),
    location: undefined,
    acknowledged: 0,
    finishing: false,
    finished: false,
    resumed: 0,
  };
}

/** Brings the upload to its end from wherever it stands. Errors: ConnectionLost; then `resumeUpload` goes on with it. */
export async function runUpload(http: Http, upload: FaultUpload): Promise<void> {
  const { content, chunk } = upload;
  if (upload.location === undefined) {
    const started = await http.send('POST', `/v2/${upload.repository}/blobs/uploads/`, {
      body: Buffer.alloc(0),
    });
    if (started.status !== 202) throw unexpected('the start of an upload', started);
    upload.location = started.headers.location;
  }
  const location = upload.location ?? '';
  for (;;) {
    const start = upload.acknowledged;
    const end = Math.min(content.size, start + (chunk ?? content.size));
    if (start === end || (end === content.size && upload.lastWithPut)) break;
    const answer = await http.send('PATCH', location, {
      headers: {
        'content-type': 'application/octet-stream',
        ...(chunk === undefined ? {} : { 'content-range': `${start}-${end - 1}` }),
      },
      body: chunk === undefined ? content.stream(start) : content.bytes(start, end),
    });
    if (answer.status !== 202) throw unexpected(`bytes ${start}-${end} of ${location}`, answer);
    if (answer.headers.range !== `0-${end - 1}`) throw unexpected(`Range ${answer.headers.range}`, answer);
    upload.acknowledged = end;
  }
  const rest = content.bytes(upload.acknowledged);
  const mark = location.includes('?') ? '&' : '?';
  upload.finishing = true;
  const answer = await http.send('PUT', `${location}${mark}digest=${content.digest}`, {
    body: rest,
    headers: rest.length === 0 ? {} : { 'content-type': 'application/octet-stream' },
  });
  if (answer.status !== 201) throw unexpected(`the end of ${location}`, answer);
  upload.finishing = false;
  upload.finished = true;
}

/** Asks where the same session stands and goes on from there to the end. False: the session had not been acknowledged, or its end was. */
export async function resumeUpload(http: Http, upload: FaultUpload): Promise<boolean> {
  const { location, content } = upload;
  if (location === undefined || upload.finished) return false;
  const status = await http.send('GET', location);
  if (status.status === 404 && upload.finishing) {
    // The server had finished and only its answer was lost; the same PUT again must be answered as the first one was.
    upload.acknowledged = content.size;
  } else {
    if (status.status !== 204) throw unexpected(`the state of ${location}`, status);
    const id = status.headers['docker-upload-uuid'];
    if (typeof id !== 'string' || !location.includes(id))
      throw unexpected(`another session, ${String(id)}`, status);
    const last = Number(/^0-(\d+)$/.exec(String(status.headers.range))?.[1]);
    // 0-0 says nothing or one byte, and no piece has one byte only.
    const offset = last === 0 ? 0 : last + 1;
    if (!(offset >= upload.acknowledged && offset <= content.size)) {
      throw unexpected(
        `${upload.acknowledged} bytes were acknowledged, kept ${offset} of ${content.size}`,
        status,
      );
    }
    upload.acknowledged = offset;
  }
  upload.resumed++;
  await runUpload(http, upload);
  return true;
}
