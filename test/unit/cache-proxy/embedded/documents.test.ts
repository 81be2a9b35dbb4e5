import { describe, expect, it } from 'vitest';
import { decodeDocument, encodeDocument } from '../../../../cache-proxy/embedded/documents.ts';
import { digestOf } from '../../../../oci/digest.ts';

const body = Buffer.from('{\n "schemaVersion": 2\n}');
const manifest = {
  kind: 'manifest',
  repository: 'a/b',
  digest: digestOf(body),
  contentType: 'x/y',
  body,
} as const;

describe('cached documents', () => {
  it('are read as they were written', () => {
    const tag = {
      kind: 'tag',
      repository: 'a',
      digest: digestOf(body),
      tag: 'v1',
      accept: 'oci',
      contentType: 'x',
    } as const;

    expect(decodeDocument(encodeDocument(manifest))).toEqual(manifest);
    expect(decodeDocument(encodeDocument(tag))).toEqual(tag);
    expect(decodeDocument(encodeDocument({ ...tag, etag: '"é"' }))).toEqual({ ...tag, etag: '"é"' });
  });

  it.each([
    ['nothing', Buffer.of()],
    ['no JSON', Buffer.from('{"kind":\n')],
    ['another kind', Buffer.from('{"kind":"blob"}\n')],
    [
      'a tag without its name',
      Buffer.from(`{"kind":"tag","repository":"a","digest":"${digestOf('')}","contentType":"x"}\n`),
    ],
    ['a part of the body', encodeDocument(manifest).subarray(0, -1)],
    ['another body', Buffer.concat([encodeDocument(manifest).subarray(0, -1), Buffer.from('x')])],
  ])('%s is none', (_, bytes) => {
    expect(decodeDocument(bytes)).toBeUndefined();
  });
});
