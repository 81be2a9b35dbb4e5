import { createHash, createHmac } from 'node:crypto';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface PresignRequest {
  readonly method: 'GET' | 'HEAD';
  /** `https://host[:port]`, then `/bucket` where the bucket is not in the host; no `/` at its end. */
  readonly base: string;
  readonly key: string;
  readonly region: string;
  readonly credentials: Credentials;
  /** By the store's clock. */
  readonly now: Date;
  readonly expiresInSeconds: number;
  readonly contentType?: string | undefined;
}

/** Signature Version 4 lets nothing live longer than a week. */
const longestSeconds = 7 * 24 * 60 * 60;

/**
 * An address that carries its own signature: AWS Signature Version 4, query parameters, payload not signed.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
 */
export function presignUrl(request: PresignRequest): string {
  const { method, base, region, credentials, now } = request;
  const url = new URL(base);
  const stamp = now.toISOString().replaceAll(/[-:]|\.\d{3}/g, '');
  const day = stamp.slice(0, 8);
  const scope = `${day}/${region}/s3/aws4_request`;
  const seconds = Math.max(1, Math.min(Math.floor(request.expiresInSeconds), longestSeconds));
  const parameters: [string, string][] = [
    ['X-Amz-Algorithm', 'AWS4-HMAC-SHA256'],
    ['X-Amz-Credential', `${credentials.accessKeyId}/${scope}`],
    ['X-Amz-Date', stamp],
    ['X-Amz-Expires', String(seconds)],
    ['X-Amz-SignedHeaders', 'host'],
  ];
  if (credentials.sessionToken !== undefined) {
    parameters.push(['X-Amz-Security-Token', credentials.sessionToken]);
  }
  if (request.contentType !== undefined) parameters.push(['response-content-type', request.contentType]);
  const query = parameters
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&');
  const path = `${url.pathname === '/' ? '' : url.pathname}/${request.key.split('/').map(encode).join('/')}`;
  const canonical = [method, path, query, `host:${url.host}\n`, 'host', 'UNSIGNED-PAYLOAD'].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', stamp, scope, createHash('sha256').update(canonical).digest('hex')];
  const signature = createHmac('sha256', deriveSigningKey(credentials.secretAccessKey, day, region))
    .update(toSign.join('\n'))
    .digest('hex');
  return `${url.protocol}//${url.host}${path}?${query}&X-Amz-Signature=${signature}`;
}

function deriveSigningKey(secret: string, day: string, region: string): Buffer {
  return [day, region, 's3', 'aws4_request'].reduce<Buffer>(
    (key, part) => createHmac('sha256', key).update(part).digest(),
    Buffer.from(`AWS4${secret}`),
  );
}

/** As the signature wants it: everything but letters, digits and `-._~`. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
