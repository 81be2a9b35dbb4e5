import { Agent as HttpsAgent } from 'node:https';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { getCACertificates } from 'node:tls';
import type * as Sdk from '@aws-sdk/client-s3';
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { Agent as HttpAgent } from '../http/node-http.ts';
import { type Connection, createS3Driver, type S3DriverOptions, type S3Store } from './s3/driver.ts';
import { bareEtag } from './s3/etag-spelling.ts';
import { type ListedEntry, takeListed } from './s3/listed-objects.ts';
import type { Credentials } from './s3/presign.ts';
import type { Wire, WireInfo } from './s3/requests.ts';

export interface S3StoreOptions extends S3DriverOptions {
  /** What clients call the store, for presigned addresses; default `endpoint`. */
  readonly publicEndpoint?: string | undefined;
  /** Default: `us-east-1` with an endpoint, else what the environment or the profile says. */
  readonly region?: string | undefined;
  /** The bucket in the path, not in the host's name; default true with an endpoint. */
  readonly forcePathStyle?: boolean | undefined;
  /** Default: the library's own chain (variables, profile, web identity, container and instance roles). */
  readonly credentials?: Credentials | undefined;
  /** Encryption by the store; default: what the bucket does by itself. */
  readonly sse?: 'AES256' | 'aws:kms' | undefined;
  readonly kmsKeyId?: string | undefined;
  /** Of the bytes of large objects; small ones always have the bucket's usual class. */
  readonly storageClass?: string | undefined;
  /** PEM certificates that are trusted beside the usual ones. */
  readonly ca?: string | undefined;
  /** Milliseconds until a connection stands; default 5,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** Milliseconds without a byte in either direction; default 30,000. Nothing limits the whole of a request. */
  readonly idleTimeoutMs?: number | undefined;
  /** Connections at most; default 256. */
  readonly maxSockets?: number | undefined;
}

/** Opens nothing before the first call, which also loads the vendor's library (38 MB that a server on files does without). */
export function createS3Store(options: S3StoreOptions): S3Store {
  return createS3Driver(options, createConnection(options));
}

/** Everything that knows the vendor's library. */
function createConnection(options: S3StoreOptions): Connection {
  const agentOptions = {
    keepAlive: true,
    maxSockets: options.maxSockets ?? 256,
    maxFreeSockets: options.maxSockets ?? 256,
    scheduling: 'lifo',
  } as const;
  const httpAgent = new HttpAgent(agentOptions);
  const httpsAgent = new HttpsAgent({
    ...agentOptions,
    ...(options.ca === undefined ? {} : { ca: [...getCACertificates('default'), options.ca] }),
  });
  const newClient = (sdk: typeof Sdk, endpoint: string | undefined): S3Client =>
    new sdk.S3Client({
      ...(endpoint === undefined ? {} : { endpoint }),
      ...region(options),
      ...credentialsOf(options),
      forcePathStyle: options.forcePathStyle ?? options.endpoint !== undefined,
      // Sending again is decided here, where it is known which requests may be.
      maxAttempts: 1,
      // The payload is signed, so the store checks it anyway; and parts with such a checksum may have no gaps in their numbers.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      expectContinueHeader: false,
      requestHandler: {
        httpAgent,
        httpsAgent,
        connectionTimeout: options.connectTimeoutMs ?? 5_000,
        socketTimeout: options.idleTimeoutMs ?? 30_000,
      },
    });
  let loading: Promise<{ sdk: typeof Sdk; client: S3Client }> | undefined;
  let client: S3Client | undefined;
  const load = () => {
    loading ??= (async () => {
      const sdk = await import('@aws-sdk/client-s3');
      client = newClient(sdk, options.endpoint);
      return { sdk, client };
    })();
    return loading;
  };
  const { bucket: Bucket } = options;
  const encryption = {
    ...(options.sse === undefined ? {} : { ServerSideEncryption: options.sse }),
    ...(options.kmsKeyId === undefined ? {} : { SSEKMSKeyId: options.kmsKeyId }),
  };
  const large = {
    ...encryption,
    ...(options.storageClass === undefined ? {} : { StorageClass: options.storageClass as 'STANDARD' }),
  };

  const wire: Wire = {
    async get(Key, { range, ifMatch }) {
      const { sdk, client: s3 } = await load();
      const answer = await s3.send(
        new sdk.GetObjectCommand({
          Bucket,
          Key,
          ...(range === undefined ? {} : { Range: range }),
          ...(ifMatch === undefined ? {} : { IfMatch: ifMatch }),
        }),
      );
      const body = answer.Body as unknown as Readable;
      const length = answer.ContentLength;
      const size = Number(/\/(\d+)$/.exec(answer.ContentRange ?? '')?.[1] ?? length);
      if (length === undefined || !Number.isSafeInteger(size)) {
        body.destroy();
        throw new Error('the store did not say how long the object is');
      }
      if (range !== undefined && answer.ContentRange === undefined && !range.startsWith('bytes=0-')) {
        body.destroy();
        throw new Error('the store does not know ranges');
      }
      return { ...infoOf(answer), size, body, length };
    },
    async head(Key) {
      const { sdk, client: s3 } = await load();
      const answer = await s3.send(new sdk.HeadObjectCommand({ Bucket, Key }));
      return infoOf(answer);
    },
    async put(Key, Body, { ifNoneMatch, ifMatch, data, sha256 }) {
      const { sdk, client: s3 } = await load();
      const command = new sdk.PutObjectCommand({
        Bucket,
        Key,
        Body,
        ContentLength: Body.length,
        ...(data === true ? large : encryption),
        ...(ifNoneMatch === undefined ? {} : { IfNoneMatch: ifNoneMatch }),
        ...(ifMatch === undefined ? {} : { IfMatch: ifMatch }),
      });
      if (sha256 !== undefined) signWith(command, sha256);
      const answer = await s3.send(command);
      return etagOf(answer.ETag);
    },
    async delete(Key) {
      const { sdk, client: s3 } = await load();
      await s3.send(new sdk.DeleteObjectCommand({ Bucket, Key }));
    },
    async deleteMany(keys) {
      const { sdk, client: s3 } = await load();
      const Objects = keys.map((Key) => ({ Key }));
      const answer = await s3.send(
        new sdk.DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }),
      );
      return (answer.Errors ?? []).map(({ Key, Code }) => ({ key: Key ?? '', code: Code ?? 'unknown' }));
    },
    async list({ prefix, startAfter, token, limit, delimiter }) {
      const { sdk, client: s3 } = await load();
      const command = new sdk.ListObjectsV2Command({
        Bucket,
        Prefix: prefix,
        MaxKeys: limit,
        // Keys may hold what XML cannot.
        EncodingType: 'url',
        ...(startAfter === undefined ? {} : { StartAfter: startAfter }),
        ...(token === undefined ? {} : { ContinuationToken: token }),
        ...(delimiter === undefined ? {} : { Delimiter: delimiter }),
      });
      const taken = takeObjects(command);
      const answer = await s3.send(command);
      const decode = answer.EncodingType === 'url' ? decodeKey : (text: string) => text;
      return {
        objects: [
          ...taken().map(({ key, size, modified }) => ({ key: decodeKey(key), size, modified })),
          ...(answer.Contents ?? []).map(({ Key = '', Size = 0, LastModified }) => ({
            key: decode(Key),
            size: Size,
            modified: LastModified ?? new Date(0),
          })),
        ],
        prefixes: (answer.CommonPrefixes ?? []).map(({ Prefix = '' }) => decode(Prefix)),
        token: answer.IsTruncated === true ? answer.NextContinuationToken : undefined,
      };
    },
    async createUpload(Key) {
      const { sdk, client: s3 } = await load();
      const answer = await s3.send(new sdk.CreateMultipartUploadCommand({ Bucket, Key, ...large }));
      if (answer.UploadId === undefined) throw new Error('the store gave the upload no id');
      return answer.UploadId;
    },
    async uploadPart(Key, UploadId, PartNumber, Body) {
      const { sdk, client: s3 } = await load();
      const answer = await s3.send(
        new sdk.UploadPartCommand({
          Bucket,
          Key,
          UploadId,
          PartNumber,
          Body,
          ContentLength: Body.length,
        }),
      );
      return etagOf(answer.ETag);
    },
    async copyPart(Key, UploadId, PartNumber, from) {
      const { sdk, client: s3 } = await load();
      const answer = await s3.send(
        new sdk.UploadPartCopyCommand({
          Bucket,
          Key,
          UploadId,
          PartNumber,
          CopySource: `${Bucket}/${from.key.split('/').map(encodeURIComponent).join('/')}`,
          CopySourceRange: from.range,
        }),
      );
      return etagOf(answer.CopyPartResult?.ETag);
    },
    async completeUpload(Key, UploadId, etags, numbers) {
      const { sdk, client: s3 } = await load();
      const Parts = etags.map((etag, index) => ({
        ETag: `"${etag}"`,
        PartNumber: numbers?.[index] ?? index + 1,
      }));
      await s3.send(
        new sdk.CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }),
      );
    },
    async listParts(Key, UploadId, after) {
      const { sdk, client: s3 } = await load();
      const PartNumberMarker = `${after}`;
      const answer = await s3.send(new sdk.ListPartsCommand({ Bucket, Key, UploadId, PartNumberMarker }));
      const parts = (answer.Parts ?? []).map((part) => ({
        number: part.PartNumber ?? 0,
        etag: etagOf(part.ETag),
        size: part.Size ?? 0,
      }));
      return { parts, more: answer.IsTruncated === true && parts.length > 0 };
    },
    async abortUpload(Key, UploadId) {
      const { sdk, client: s3 } = await load();
      await s3.send(new sdk.AbortMultipartUploadCommand({ Bucket, Key, UploadId }));
    },
    async listUploads(Prefix, after) {
      const { sdk, client: s3 } = await load();
      const answer = await s3.send(
        new sdk.ListMultipartUploadsCommand({
          Bucket,
          Prefix,
          EncodingType: 'url',
          ...(after === undefined
            ? {}
            : { KeyMarker: after.key, ...(after.id === '' ? {} : { UploadIdMarker: after.id }) }),
        }),
      );
      const decode = answer.EncodingType === 'url' ? decodeKey : (text: string) => text;
      const more = answer.IsTruncated === true && answer.NextKeyMarker !== undefined;
      return {
        uploads: (answer.Uploads ?? []).map(({ Key = '', UploadId = '', Initiated }) => ({
          key: decode(Key),
          id: UploadId,
          initiated: Initiated ?? new Date(0),
        })),
        next: more
          ? { key: decode(answer.NextKeyMarker ?? ''), id: answer.NextUploadIdMarker ?? '' }
          : undefined,
      };
    },
  };

  let base: Promise<string> | undefined;
  return {
    wire,
    clockOffsetMs: () => client?.config.systemClockOffset ?? 0,
    async signing() {
      const { sdk, client: s3 } = await load();
      base ??= baseAddress(sdk, newClient(sdk, options.publicEndpoint ?? options.endpoint), Bucket);
      const [where, credentials, area] = await Promise.all([
        base,
        s3.config.credentials(),
        s3.config.region(),
      ]);
      return { base: where, region: area, credentials };
    },
    close() {
      client?.destroy();
      httpAgent.destroy();
      httpsAgent.destroy();
    },
  };
}

function region({ region: given, endpoint }: S3StoreOptions): { region?: string } {
  if (given !== undefined) return { region: given };
  return endpoint === undefined ? {} : { region: 'us-east-1' };
}

function credentialsOf({ credentials }: S3StoreOptions): Pick<S3ClientConfig, 'credentials'> {
  if (credentials === undefined) return {};
  const { sessionToken, ...pair } = credentials;
  return { credentials: sessionToken === undefined ? pair : { ...pair, sessionToken } };
}

/** Takes the objects out of the answer before the library parses it; afterwards tells them. */
function takeObjects(command: Sdk.ListObjectsV2Command): () => readonly ListedEntry[] {
  let objects: readonly ListedEntry[] = [];
  command.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const response = result.response as { statusCode: number; body: unknown };
      if (response.statusCode === 200) {
        const taken = takeListed((await buffer(response.body as Readable)).toString('utf8'));
        objects = taken.objects;
        response.body = Readable.from([Buffer.from(taken.rest)], { objectMode: false });
      }
      return result;
    },
    { step: 'deserialize', priority: 'low' },
  );
  return () => objects;
}

/** The signature takes the body's hash from this header instead of hashing the body; the store compares. */
function signWith(command: Sdk.PutObjectCommand, sha256: string): void {
  command.middlewareStack.add(
    (next) => (args) => {
      (args.request as { headers: Record<string, string> }).headers['x-amz-content-sha256'] = sha256;
      return next(args);
    },
    { step: 'build', priority: 'low' },
  );
}

/** Where the library would send a request for a key of this bucket, without that key. Nothing is sent. */
async function baseAddress(sdk: typeof Sdk, client: S3Client, bucket: string): Promise<string> {
  const command = new sdk.HeadObjectCommand({ Bucket: bucket, Key: 'k' });
  let found = '';
  command.middlewareStack.add(
    () => async (args) => {
      const { protocol, hostname, port, path } = args.request as {
        protocol: string;
        hostname: string;
        port?: number;
        path: string;
      };
      found = `${protocol}//${hostname}${port === undefined ? '' : `:${port}`}${path.slice(0, -'/k'.length)}`;
      return { response: {}, output: { $metadata: {} } };
    },
    { step: 'build', priority: 'low' },
  );
  await client.send(command);
  return found;
}

function infoOf(answer: {
  ContentLength?: number | undefined;
  ETag?: string | undefined;
  LastModified?: Date | undefined;
}): WireInfo {
  return {
    size: answer.ContentLength ?? 0,
    etag: etagOf(answer.ETag),
    modified: answer.LastModified ?? new Date(0),
  };
}

function etagOf(etag: string | undefined): string {
  if (etag === undefined) throw new Error('the store gave no ETag');
  return bareEtag(etag);
}

function decodeKey(text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '));
}
