import { describe, expect, it } from 'vitest';
import { ObjectStoreUnavailable } from '../../../../../core/object-store/object-store.ts';
import { mayHeal, toFailure } from '../../../../../core/object-store/s3/failure.ts';

const place = { store: 's3://images/', bucket: 'images', endpoint: 'https://s3.example.com' };

function service(name: string, httpStatusCode: number): Error {
  return Object.assign(new Error(`${name}!`), { name, $metadata: { httpStatusCode } });
}

function system(code: string): Error {
  return Object.assign(new Error(`connect ${code}`), { code });
}

describe('what an S3 store’s error means', () => {
  it.each([
    ['no such key', service('NoSuchKey', 404), 'missing', false],
    ['a HEAD without a body', service('NotFound', 404), 'missing', false],
    ['no such bucket, which is not "no such key"', service('NoSuchBucket', 404), 'noBucket', false],
    ['a condition that did not hold', service('PreconditionFailed', 412), 'precondition', false],
    ['a conflict', service('ConditionalRequestConflict', 409), 'conflict', true],
    ['Ceph’s answer to losers', service('UnknownError', 500), 'transient', true],
    ['a gateway’s page', service('Unknown', 502), 'transient', true],
    ['too many requests', service('SlowDown', 503), 'busy', true],
    ['a 503 of a balancer', service('Unknown', 503), 'busy', true],
    ['a range behind the end', service('InvalidRange', 416), 'range', false],
    ['an upload that is gone', service('NoSuchUpload', 404), 'noUpload', false],
    ['a part that was replaced', service('InvalidPart', 400), 'badPart', false],
    ['a full store', service('XMinioStorageFull', 507), 'full', false],
    ['a quota', service('QuotaExceeded', 403), 'full', false],
    ['a wrong clock', service('RequestTimeTooSkewed', 403), 'skew', true],
    ['a missing right', service('AccessDenied', 403), 'refused', false],
    ['an error within a 200', service('InternalError', 200), 'transient', true],
    ['a refused connection', system('ECONNREFUSED'), 'transient', true],
    ['a connection that broke', system('ECONNRESET'), 'transient', true],
    ['no answer in time', Object.assign(new Error('x'), { name: 'TimeoutError' }), 'transient', true],
    ['no credentials', Object.assign(new Error('x'), { name: 'CredentialsProviderError' }), 'refused', false],
    ['something that was thrown', 'text', 'transient', true],
  ])('%s', (_, error, kind, heals) => {
    const failure = toFailure('reading a', place, error);

    expect(failure.kind).toBe(kind);
    expect(mayHeal(failure)).toBe(heals);
    expect(failure).toBeInstanceOf(ObjectStoreUnavailable);
  });

  it.each([
    [service('NoSuchBucket', 404), 'there is no bucket "images" at https://s3.example.com: create it'],
    [service('InvalidAccessKeyId', 403), 'check AWS_ACCESS_KEY_ID'],
    [service('SignatureDoesNotMatch', 403), 'check AWS_SECRET_ACCESS_KEY'],
    [service('PermanentRedirect', 301), 'set store.s3.region'],
    [service('AccessDenied', 403), 'docs/object-stores.md'],
    [system('ECONNREFUSED'), 'nothing answers at https://s3.example.com: check store.s3.endpoint'],
    [system('SELF_SIGNED_CERT_IN_CHAIN'), 'set store.s3.caFile'],
    [service('RequestTimeTooSkewed', 403), 'set it (NTP)'],
    [service('Odd', 400), 'Odd: Odd!'],
  ])('says what to do: %s', (error, text) => {
    expect(toFailure('reading a', place, error).message).toContain(text);
  });
});
