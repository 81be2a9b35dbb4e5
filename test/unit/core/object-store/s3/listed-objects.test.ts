import { describe, expect, it } from 'vitest';
import { takeListed } from '../../../../../core/object-store/s3/listed-objects.ts';

const modified = '2026-01-02T03:04:05.678Z';
const entry = (key: string, size: number | string = 1, more = ''): string =>
  `<Contents><Key>${key}</Key><LastModified>${modified}</LastModified><ETag>&quot;a&quot;</ETag><Size>${size}</Size>${more}</Contents>`;
const head = '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.example.com/doc/"><Name>b</Name>';
const encoded = '<EncodingType>url</EncodingType>';
const tail = '<IsTruncated>false</IsTruncated></ListBucketResult>';

describe('the objects of a listing', () => {
  it('are taken out, and everything else stays for the library', () => {
    const folded = '<CommonPrefixes><Prefix>d%2F</Prefix></CommonPrefixes>';
    const xml = `${head}${encoded}${entry('a%2Fb%26', 7)}${folded}${entry('c', 0, '<Owner><ID>o</ID></Owner>')}${tail}`;
    expect(takeListed(xml)).toEqual({
      objects: [
        { key: 'a%2Fb%26', size: 7, modified: new Date(modified) },
        { key: 'c', size: 0, modified: new Date(modified) },
      ],
      rest: `${head}${encoded}${folded}${tail}`,
    });
  });

  it.each([
    ['an answer without objects', `${head}${encoded}${tail}`],
    ['keys that are not percent-encoded', `${head}${entry('a&amp;b')}${tail}`],
    ['an entry without a key', `${head}${encoded}${entry('a')}${entry('')}${tail}`],
    ['a size that is no number', `${head}${encoded}${entry('a', 'many')}${tail}`],
    ['a date that is none', `${head}${encoded}${entry('a').replace(modified, 'then')}${tail}`],
    ['an answer that was cut', `${head}${encoded}${entry('a')}<Contents><Key>b</Key>`],
    ['elements with other spellings', `${head}${encoded}<Contents id="1"><Key>a</Key></Contents>${tail}`],
  ])('are left to the library in %s', (_, xml) => {
    expect(takeListed(xml)).toEqual({ objects: [], rest: xml });
  });
});
