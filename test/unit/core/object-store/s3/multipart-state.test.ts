import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { MultipartUnknown } from '../../../../../core/object-store/object-store.ts';
import {
  decodeState,
  emptyState,
  encodeState,
  isWhole,
  packEtags,
  partBytes,
  unpackEtags,
} from '../../../../../core/object-store/s3/multipart-state.ts';

const md5 = (text: string) => createHash('md5').update(text).digest('hex');

describe('the state of an upload', () => {
  it('survives JSON', () => {
    const state = {
      ...emptyState(8_388_608),
      offset: 8_388_608 + 20,
      upload: '2~abc',
      etags: [md5('1')],
      pieces: [
        { name: 'f3d1', start: 0, bytes: 15 },
        { start: 8_388_608, bytes: 5 },
      ],
      tidy: true,
    };

    const { plan: _, ...decoded } = decodeState(JSON.parse(JSON.stringify(encodeState(state))));

    const { plan, ...expected } = state;
    expect(decoded).toEqual(expected);
    expect(partBytes({ ...state, short: 7 })).toBe(7);
    expect(plan.start(2)).toBe(8_388_608);
  });

  it('of 10,000 parts stays below a quarter of a MiB', () => {
    const etags = Array.from({ length: 10_000 }, (_, index) => md5(`${index}`));

    expect(packEtags(etags).length).toBeLessThan(256 * 1024);
    expect(unpackEtags(packEtags(etags))).toEqual(etags);
  });

  it('keeps ETags that are no MD5, too', () => {
    const etags = [md5('1'), 'B2-1f/x,"y"', '', md5('2').toUpperCase()];

    expect(unpackEtags(packEtags(etags))).toEqual(etags);
    expect(unpackEtags(packEtags([]))).toEqual([]);
  });

  it('knows an object that was written in one request', () => {
    const whole = { ...emptyState(1000), offset: 5, pieces: [{ start: 0, bytes: 5 }] };

    expect(isWhole(whole)).toBe(true);
    expect(isWhole({ ...whole, offset: 6 })).toBe(false);
    expect(isWhole({ ...whole, pieces: [{ name: 'x', start: 0, bytes: 5 }] })).toBe(false);
    expect(isWhole(emptyState(1000))).toBe(false);
  });

  it('of another store is no upload of this one', () => {
    expect(() => decodeState({ offset: 0, id: 'x' })).toThrow(MultipartUnknown);
  });
});
