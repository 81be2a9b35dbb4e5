import { InvalidCredentials } from './authenticator.ts';

/** What an Authorization header (RFC 9110 section 11.6.2) carries. */
export type Credentials =
  | { readonly kind: 'basic'; readonly user: string; readonly password: string }
  | { readonly kind: 'bearer'; readonly token: string };

/** Errors: InvalidCredentials for anything but one Basic or Bearer credential. */
export function parseAuthorization(header: string): Credentials {
  const match = /^(basic|bearer) +([A-Za-z0-9._~+/-]+=*) *$/i.exec(header);
  const value = match?.[2];
  if (value === undefined || header.length > 16 * 1024)
    throw new InvalidCredentials('unreadable credentials');
  if (match?.[1]?.toLowerCase() === 'bearer') return { kind: 'bearer', token: value };
  const decoded = Buffer.from(value, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  if (colon < 1 || /\p{Cc}/u.test(decoded)) throw new InvalidCredentials('unreadable credentials');
  return { kind: 'basic', user: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}
