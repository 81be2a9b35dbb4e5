import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Provider, Trigger } from './trigger.ts';

/** A delivery as it arrived; nothing of it was looked into. */
export interface RawDelivery {
  readonly provider: Provider;
  readonly headers: IncomingHttpHeaders;
  /** Name, value, name, value…: shows what was sent twice. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
}

/** Which triggers' secret a delivery was made with, or why it is none. `message` is for whoever set the sender up, and tells nothing of secrets. */
export type Verdict =
  | { readonly triggers: readonly Trigger[]; readonly nonce?: string }
  | { readonly refused: string };

/** Headers that decide who sent what: each may be there once. */
const headersOf: Readonly<Record<Provider, { signature: string; others: readonly string[] }>> = {
  github: { signature: 'x-hub-signature-256', others: ['x-github-event', 'x-github-delivery'] },
  gitlab: { signature: 'x-gitlab-token', others: ['x-gitlab-event', 'x-gitlab-event-uuid'] },
  gitea: {
    signature: 'x-gitea-signature',
    others: [
      'x-forgejo-signature',
      'x-gitea-event',
      'x-forgejo-event',
      'x-gitea-delivery',
      'x-forgejo-delivery',
    ],
  },
  generic: {
    signature: 'x-brickyard-signature',
    others: ['x-brickyard-timestamp', 'x-brickyard-nonce', 'x-brickyard-delivery'],
  },
};

/** How far the sender's clock may be from ours. Milliseconds. */
export const clockTolerance = 5 * 60 * 1000;
/** Compared with where nothing was sent, so that every refusal does the same work. */
const nothing = Buffer.alloc(32);

/**
 * Compares with the secrets of all triggers of the provider, always all of them and always over digests, so that time tells neither how much
 * of a signature is right nor whose it is. The body's bytes are compared as they came, before anything parses them.
 */
export function verifyDelivery(
  delivery: RawDelivery,
  triggers: readonly Trigger[],
  now: number = Date.now(),
): Verdict {
  const { provider, headers } = delivery;
  const names = headersOf[provider];
  const twice = [names.signature, ...names.others, 'content-encoding'].find(
    (name) =>
      delivery.rawHeaders.filter((text, at) => at % 2 === 0 && text.toLowerCase() === name).length > 1,
  );
  const claim = readClaim(delivery, now);
  let matching: readonly Trigger[] = [];
  for (const trigger of triggers) {
    if (trigger.provider !== provider) continue;
    const fits = trigger.secrets.map((secret) => timingSafeEqual(expected(delivery, secret), claim.value));
    if (fits.includes(true)) matching = [...matching, trigger];
  }
  if (twice !== undefined) return { refused: `the header ${twice} is there twice` };
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity')
    return { refused: `Content-Encoding ${encoding.slice(0, 40)}: send the body as it was signed` };
  if (claim.refused !== undefined) return { refused: claim.refused };
  if (matching.length === 0) {
    return {
      refused: `${names.signature} fits no secret of a ${provider} trigger of this server: compare the sender's secret with builder.triggers`,
    };
  }
  return { triggers: matching, ...(claim.nonce === undefined ? {} : { nonce: claim.nonce }) };
}

/** What the sender says the digest is; 32 bytes in any case. */
interface Claim {
  readonly value: Buffer;
  readonly nonce?: string;
  readonly refused?: string;
}

function readClaim({ provider, headers }: RawDelivery, now: number): Claim {
  const { signature: name } = headersOf[provider];
  const text = one(headers[name]) ?? (provider === 'gitea' ? one(headers['x-forgejo-signature']) : undefined);
  if (text === undefined || text === '') {
    const old = provider === 'github' && headers['x-hub-signature'] !== undefined;
    const why = old
      ? 'X-Hub-Signature alone is SHA-1, which is not taken'
      : 'it is not signed: set a secret where it is sent from';
    return { value: nothing, refused: `there is no ${name}: ${why}` };
  }
  if (provider === 'gitlab') return { value: digest(Buffer.from(text, 'latin1')) };
  const prefix = provider === 'gitea' ? '' : 'sha256=';
  const hex = new RegExp(`^${prefix}([0-9a-f]{64})$`).exec(text)?.[1];
  if (hex === undefined)
    return { value: nothing, refused: `${name} must be ${prefix}<64 lower-case hex digits>` };
  const value = Buffer.from(hex, 'hex');
  return provider === 'generic' ? { value, ...readNonce(headers, now) } : { value };
}

function readNonce(headers: IncomingHttpHeaders, now: number): { nonce: string } | { refused: string } {
  const time = one(headers['x-brickyard-timestamp']) ?? '';
  const nonce = one(headers['x-brickyard-nonce']) ?? '';
  if (!/^\d{1,12}$/.test(time)) return { refused: 'x-brickyard-timestamp must be seconds since 1970' };
  if (!/^[\w-]{16,64}$/.test(nonce)) {
    return { refused: 'x-brickyard-nonce must be 16 to 64 characters of A-Za-z0-9_-' };
  }
  if (Math.abs(Number(time) * 1000 - now) > clockTolerance) {
    return {
      refused: `x-brickyard-timestamp is too far from this server's clock, which says ${Math.floor(now / 1000)}`,
    };
  }
  return { nonce };
}

function expected({ provider, headers, body }: RawDelivery, secret: string): Buffer {
  if (provider === 'gitlab') return digest(Buffer.from(secret));
  const hmac = createHmac('sha256', secret);
  if (provider === 'generic') {
    hmac.update(`${one(headers['x-brickyard-timestamp'])}.${one(headers['x-brickyard-nonce'])}.`);
  }
  return hmac.update(body).digest();
}

function digest(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}

function one(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
