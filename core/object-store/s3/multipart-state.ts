import { type JsonValue, type MultipartState, MultipartUnknown } from '../object-store.ts';
import { createPartPlan, type PartPlan } from './part-plan.ts';

/**
 * Bytes of the part that is not full yet, kept as objects: small chunks append small pieces and rewrite nothing.
 * `name` undefined: they lie in the upload's own object, from `start` on.
 */
export interface Piece {
  readonly name?: string;
  readonly start: number;
  readonly bytes: number;
}

/** What a session remembers of an upload to S3. Its bytes are the parts, then the pieces. */
export interface UploadState {
  readonly offset: number;
  /** Bytes of the first part; decides all cuts (`PartPlan`). */
  readonly firstPartBytes: number;
  readonly plan: PartPlan;
  /** S3's id; undefined while no part was needed. */
  readonly upload: string | undefined;
  /** ETags of the parts 1, 2, 3…, without quotes. */
  readonly etags: readonly string[];
  /** The last of the parts has so many bytes only; nothing can follow it in this upload. */
  readonly short: number | undefined;
  readonly pieces: readonly Piece[];
  /** Nothing but what this state names was ever stored for the upload: its one writer came to its end. */
  readonly tidy: boolean;
}

export function emptyState(firstPartBytes: number): UploadState {
  return {
    offset: 0,
    firstPartBytes,
    plan: createPartPlan(firstPartBytes),
    upload: undefined,
    etags: [],
    short: undefined,
    pieces: [],
    tidy: false,
  };
}

/** Bytes in parts. */
export function partBytes({ plan, etags, short }: UploadState): number {
  if (etags.length === 0) return 0;
  return short === undefined ? plan.start(etags.length + 1) : plan.start(etags.length) + short;
}

export function pieceBytes(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, piece) => sum + piece.bytes, 0);
}

export function pieceKey(key: string, name: string): string {
  return `${piecePrefix(key)}${name}`;
}

/** Everything that belongs to an upload and is not its object. */
export function piecePrefix(key: string): string {
  return `${key}/`;
}

/** The whole object is there already: it was written in one request. */
export function isWhole({ upload, pieces, offset }: UploadState): boolean {
  const [only] = pieces;
  return (
    upload === undefined &&
    pieces.length === 1 &&
    only?.name === undefined &&
    only?.start === 0 &&
    only.bytes === offset
  );
}

export function encodeState(state: UploadState): MultipartState {
  const encoded: Record<string, JsonValue> = { first: state.firstPartBytes };
  if (state.upload !== undefined) encoded['upload'] = state.upload;
  if (state.etags.length > 0) encoded['parts'] = packEtags(state.etags);
  if (state.short !== undefined) encoded['short'] = state.short;
  if (state.pieces.length > 0) encoded['pieces'] = state.pieces.map(encodePiece);
  if (state.tidy) encoded['tidy'] = true;
  return { ...encoded, offset: state.offset };
}

/** Errors: MultipartUnknown when it is no state of ours. */
export function decodeState(state: MultipartState): UploadState {
  const { offset, first, upload, parts, short, pieces, tidy } = state;
  if (typeof first !== 'number' || !(first > 0)) throw new MultipartUnknown('this state names no upload');
  return {
    offset,
    firstPartBytes: first,
    plan: createPartPlan(first),
    upload: typeof upload === 'string' ? upload : undefined,
    etags: typeof parts === 'string' ? unpackEtags(parts) : [],
    short: typeof short === 'number' ? short : undefined,
    pieces: Array.isArray(pieces) ? pieces.map((piece) => decodePiece(String(piece))) : [],
    tidy: tidy === true,
  };
}

function encodePiece({ name, start, bytes }: Piece): string {
  return `${name ?? ''}:${start}:${bytes}`;
}

function decodePiece(text: string): Piece {
  const [name = '', start, bytes] = text.split(':');
  return { ...(name === '' ? {} : { name }), start: Number(start), bytes: Number(bytes) };
}

const MD5 = /^[0-9a-f]{32}$/;

/** Nearly every store's ETag of a part is an MD5: 22 characters instead of 35, which counts at 10,000 parts. */
export function packEtags(etags: readonly string[]): string {
  return etags.every((etag) => MD5.test(etag))
    ? `b${Buffer.from(etags.join(''), 'hex').toString('base64')}`
    : `j${JSON.stringify(etags)}`;
}

export function unpackEtags(packed: string): string[] {
  if (packed.startsWith('j')) return JSON.parse(packed.slice(1)) as string[];
  const hex = Buffer.from(packed.slice(1), 'base64').toString('hex');
  return Array.from({ length: hex.length / 32 }, (_, index) => hex.slice(index * 32, index * 32 + 32));
}
