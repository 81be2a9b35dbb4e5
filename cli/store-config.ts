import type { ValueFault } from '../core/config/settings.ts';
import { Type } from '../core/type.ts';
import { fault } from './config-checks.ts';

/** `store`: where everything durable is kept. */
export const storeSchema = Type.Object({
  /** Kind of object store. */
  type: Type.Enum(['filesystem', 's3'], {
    default: 'filesystem',
    description: 'Kind of object store: `filesystem` (under `data`) or `s3` (any number of servers).',
    'x-unavailable-values': {
      memory: 'a store in memory would lose images; use "filesystem"',
    },
  }),
  /** Only used with `type: s3`. Credentials come from where the AWS SDK looks for them. */
  s3: Type.Object({
    endpoint: Type.Optional(
      Type.String({
        description: 'Address of the S3 store, e.g. `https://s3.example.com`; without it, AWS.',
        'x-check': checkEndpoint,
      }),
    ),
    publicEndpoint: Type.Optional(
      Type.String({
        description: 'What clients call the S3 store, for redirects; default: `endpoint`.',
        'x-check': checkEndpoint,
      }),
    ),
    region: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          'Region; default: AWS_REGION, AWS_DEFAULT_REGION or the profile’s; `us-east-1` with an endpoint.',
      }),
    ),
    bucket: Type.Optional(Type.String({ minLength: 3, maxLength: 63, description: 'Name of the bucket.' })),
    prefix: Type.String({
      default: '',
      maxLength: 128,
      description: 'All keys begin with it; several installations may share a bucket.',
      'x-check': (value: string) =>
        /^\/?([A-Za-z0-9!_.*'()-]+\/?)*$/.test(value) && !/(^|\/)\.\.?(\/|$)/.test(value)
          ? []
          : fault('may hold letters, digits and -_.!*() in parts joined by /'),
    }),
    forcePathStyle: Type.Optional(
      Type.Boolean({
        description:
          'The bucket stands in the path, not in the host’s name; default: yes with an endpoint, no on AWS.',
      }),
    ),
    sse: Type.Enum(['none', 'AES256', 'aws:kms'], {
      default: 'none',
      description: 'Encryption asked of the store; `none` leaves it to the bucket’s own setting.',
    }),
    kmsKeyId: Type.Optional(
      Type.String({ minLength: 1, description: 'Key for `sse: aws:kms`; default: the account’s own.' }),
    ),
    storageClass: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          'Storage class of blobs, e.g. `STANDARD_IA`; metadata always has the bucket’s usual one.',
        'x-check': (value: string) =>
          /GLACIER$|DEEP_ARCHIVE/.test(value) && value !== 'GLACIER_IR'
            ? fault(
                'blobs must be readable at once; use STANDARD, STANDARD_IA, INTELLIGENT_TIERING or GLACIER_IR',
              )
            : [],
      }),
    ),
    caFile: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'PEM file of certificate authorities that are trusted beside the usual ones.',
        'x-path': true,
      }),
    ),
    maxAttempts: Type.Integer({
      default: 5,
      minimum: 1,
      maximum: 20,
      description: 'Sendings of one request. Writes with a condition are decided by the caller.',
    }),
    connectTimeout: Type.Integer({
      default: 5,
      minimum: 1,
      maximum: 120,
      description: 'Seconds until a connection to the store stands.',
    }),
    idleTimeout: Type.Integer({
      default: 30,
      minimum: 1,
      maximum: 600,
      description:
        'Seconds without a byte in either direction after which a request to the store has failed.',
    }),
    uploadBuffer: Type.Integer({
      default: 256,
      minimum: 16,
      maximum: 65_536,
      description: 'MiB of memory for the parts of all uploads of one process.',
    }),
  }),
});

function checkEndpoint(value: string): ValueFault[] {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    return fault('must be an address such as https://s3.example.com');
  }
  if (url.username !== '' || url.password !== '')
    return fault('must hold no credentials: use AWS_ACCESS_KEY_ID');
  if (url.search !== '' || url.hash !== '') return fault('must end with the host, port or path');
  return [];
}
