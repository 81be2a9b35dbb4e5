import { describe, expect, it } from 'vitest';
import { createArrivingBlobs } from '../../../../cache-proxy/nginx/arriving-blobs.ts';

describe('blobs that arrive', () => {
  it('are those whose first piece is not there, and those that the registry was asked for', async () => {
    const arriving = createArrivingBlobs({ hasFirst: (digest) => Promise.resolve(digest !== 'new') });
    arriving.note('half');

    const all = ['new', 'half', 'old'].map((digest) => arriving.isArriving(digest));

    expect(await Promise.all(all)).toEqual([true, true, false]);
  });

  it('are none where it cannot be seen', async () => {
    const arriving = createArrivingBlobs({ hasFirst: () => Promise.reject(new Error('EACCES')) });

    expect(await arriving.isArriving('any')).toBe(false);
  });
});
