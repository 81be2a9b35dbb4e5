import { OciError } from '../errors.ts';
import { drain, readJson } from './answers.ts';
import type { Outbound } from './outbound.ts';
import type { Answer, Transport } from './transport.ts';

export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** Further hosts (`host[:port]`) whose token service may see the password; else only the registry's own. */
  readonly tokenHosts?: readonly string[];
}

/** Who we are towards one registry: knows what to send, and learns from what is refused. */
export interface ClientAuth {
  /** We could say who we are. */
  readonly hasCredentials: boolean;
  /** The Authorization header for a request that needs `scope`, as far as it is known by now. */
  header(scope: string): string | undefined;
  /** After a 401 to `sent`: true when another attempt with a new `header` makes sense. Errors: UNAVAILABLE (the token service). */
  learn(refused: Answer, scope: string, sent: string | undefined): Promise<boolean>;
}

/** Docker's token flow (GET with Basic), and Basic where the registry asks for that. */
export function createClientAuth(
  registry: URL,
  transport: Transport,
  credentials: Credentials | undefined,
  options: { readonly outbound?: Outbound | undefined; readonly now?: () => number } = {},
): ClientAuth {
  const { outbound, now = Date.now } = options;
  const basic =
    credentials === undefined
      ? undefined
      : `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
  const tokens = new Map<string, { header: string; expires: number }>();
  let wantsBasic = false;

  return {
    hasCredentials: credentials !== undefined,
    header(scope) {
      if (wantsBasic) return basic;
      const token = tokens.get(scope);
      return token !== undefined && token.expires > now() ? token.header : undefined;
    },
    async learn(refused, scope, sent) {
      const challenge = parseChallenge(refused.headers['www-authenticate']);
      if (challenge?.scheme === 'basic' && basic !== undefined) {
        wantsBasic = true;
        return sent !== basic;
      }
      if (challenge?.scheme !== 'bearer' || challenge.parameters['realm'] === undefined) return false;
      // Refused with a token that is as good as we can get: asking again would go round for ever.
      const known = tokens.get(scope);
      if (known !== undefined && sent === known.header && known.expires > now()) return false;
      const token = await fetchToken(challenge.parameters, scope);
      if (token === undefined) return false;
      if (tokens.size >= maxTokens) tokens.clear();
      tokens.set(scope, token);
      return true;
    },
  };

  async function fetchToken(
    parameters: Readonly<Record<string, string>>,
    scope: string,
  ): Promise<{ header: string; expires: number } | undefined> {
    const realm = readRealm(parameters['realm'] ?? '', registry);
    if (realm === undefined) return undefined;
    if (outbound?.mayAskForToken(realm) === false) {
      throw new OciError('UNAVAILABLE', {
        message: `${registry.host} names ${realm.origin} as its token service, which is not allowed`,
      });
    }
    if (parameters['service'] !== undefined) realm.searchParams.set('service', parameters['service']);
    for (const one of scope.split(' ')) if (one !== '') realm.searchParams.append('scope', one);
    const mayKnow =
      outbound?.mayKnowPassword(realm) === true ||
      (realm.host === registry.host && realm.protocol === registry.protocol) ||
      (realm.protocol === 'https:' && credentials?.tokenHosts?.includes(realm.host) === true);
    const headers: Record<string, string> = { accept: 'application/json' };
    if (basic !== undefined && mayKnow) headers['authorization'] = basic;
    const answer = await transport.send({ method: 'GET', url: realm, headers });
    if (answer.status !== 200) {
      await drain(answer);
      if (answer.status >= 500) {
        throw new OciError('UNAVAILABLE', { message: `${realm.host} gave no token: ${answer.status}` });
      }
      return undefined;
    }
    const body = await readJson(answer.body, 1024 * 1024);
    const token = body['token'] ?? body['access_token'];
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) return undefined;
    const seconds = typeof body['expires_in'] === 'number' ? body['expires_in'] : 60;
    // A little early, so that it does not run out on the way; a long upload asks for its next one in time.
    return { header: `Bearer ${token}`, expires: now() + Math.max(1, seconds - 10) * 1000 };
  }
}

const maxTokens = 1000;

/** Undefined for an address that no password or scope should be sent to: another scheme, or plain HTTP from an HTTPS registry. */
function readRealm(text: string, registry: URL): URL | undefined {
  if (!URL.canParse(text, registry)) return undefined;
  const realm = new URL(text, registry);
  if (realm.protocol === 'https:') return realm;
  return realm.protocol === 'http:' && registry.protocol === 'http:' ? realm : undefined;
}

/** RFC 9110 11.6.1, the first challenge only. */
export function parseChallenge(
  header: string | undefined,
): { scheme: string; parameters: Record<string, string> } | undefined {
  const match = /^\s*([a-z]+)(?:\s+(.*))?$/is.exec(header ?? '');
  if (match === null) return undefined;
  const parameters: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [, name = '', quoted, bare] of (match[2] ?? '').matchAll(
    /([a-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))/gi,
  )) {
    parameters[name.toLowerCase()] ??= quoted?.replaceAll(/\\(.)/g, '$1') ?? bare ?? '';
  }
  return { scheme: (match[1] ?? '').toLowerCase(), parameters };
}
