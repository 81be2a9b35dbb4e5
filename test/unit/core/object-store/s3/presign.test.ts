import { S3Client } from '@aws-sdk/client-s3';
import { describe, expect, it } from 'vitest';
import { presignUrl } from '../../../../../core/object-store/s3/presign.ts';

const credentials = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};

describe('a presigned address', () => {
  it('is the one of AWS’s own example', () => {
    // https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    const url = presignUrl({
      method: 'GET',
      base: 'https://examplebucket.s3.amazonaws.com',
      key: 'test.txt',
      region: 'us-east-1',
      credentials,
      now: new Date('2013-05-24T00:00:00Z'),
      expiresInSeconds: 86_400,
    });

    expect(new URL(url).searchParams.get('X-Amz-Signature')).toBe(
      'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
    );
    expect(url.split('?')[0]).toBe('https://examplebucket.s3.amazonaws.com/test.txt');
  });

  it.each([
    ['GET', 'plain/key', undefined, undefined],
    ['HEAD', "data/ab/größe (1)!*'#?&+ =%2F", undefined, undefined],
    ['GET', 'a', 'application/vnd.oci.image.layer.v1.tar+gzip', undefined],
    ['GET', 'a', undefined, 'token/with+signs=='],
  ] as const)(
    'is the one that the vendor’s signer makes: %s %s',
    async (method, key, contentType, sessionToken) => {
      const now = new Date('2026-02-03T04:05:06Z');
      const identity = sessionToken === undefined ? credentials : { ...credentials, sessionToken };

      const url = presignUrl({
        method,
        base: 'http://127.0.0.1:9000/bucket',
        key,
        region: 'eu-west-1',
        credentials: identity,
        now,
        expiresInSeconds: 600,
        contentType,
      });

      const client = new S3Client({ region: 'eu-west-1', credentials: identity });
      const signer = await client.config.signer({
        name: 'sigv4',
        schemeId: 'aws.auth#sigv4',
        signingProperties: {},
      } as never);
      const signed = await (signer as unknown as Presigner).presign(
        {
          method,
          protocol: 'http:',
          hostname: '127.0.0.1',
          port: 9000,
          path: `/bucket/${key.split('/').map(strictEncode).join('/')}`,
          query: contentType === undefined ? {} : { 'response-content-type': contentType },
          headers: { host: '127.0.0.1:9000', 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
        },
        {
          expiresIn: 600,
          signingDate: now,
          signingRegion: 'eu-west-1',
          signingService: 's3',
          unhoistableHeaders: unsigned,
          unsignableHeaders: unsigned,
        },
      );
      const parameters = Object.fromEntries(new URL(url).searchParams);
      expect(parameters).toEqual(signed.query);
    },
  );

  it('lives a week at most', () => {
    const url = presignUrl({
      method: 'GET',
      base: 'https://b.example',
      key: 'k',
      region: 'r',
      credentials,
      now: new Date(0),
      expiresInSeconds: 1e9,
    });

    expect(new URL(url).searchParams.get('X-Amz-Expires')).toBe('604800');
  });
});

const unsigned = new Set(['x-amz-content-sha256']);

interface Presigner {
  presign(request: object, options: object): Promise<{ query: Record<string, string> }>;
}

function strictEncode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
