import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { drain } from '../../oci/client/answers.ts';
import { type Credentials, createClientAuth, parseChallenge } from '../../oci/client/token.ts';
import { type Answer, createTransport } from '../../oci/client/transport.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import { poolHeader } from '../pools/pool-header.ts';
import type { ClientFinding } from './finding.ts';

export interface PoolQuestion {
  readonly endpoint: string;
  /** What the pool is called; undefined: whatever it says. */
  readonly pool?: string;
  /** Certificates (PEM); undefined: the system's. */
  readonly ca?: string;
  /** What this machine has for the pool's name. */
  readonly credentials?: Credentials;
  /** An image to ask for as a client would. */
  readonly image?: { readonly repository: string; readonly reference: string; readonly ns?: string };
}

/** A client that gets nothing for so long has gone to the registry itself. */
const timeoutMs = 10_000;

const acceptAll = [
  mediaTypes.ociIndex,
  mediaTypes.ociManifest,
  mediaTypes.dockerManifestList,
  mediaTypes.dockerManifest,
].join(', ');

/** Asks a pool what a container engine would ask it, with this machine's name service, certificates and account. Never throws. */
export async function askPool(question: PoolQuestion): Promise<ClientFinding[]> {
  const { endpoint, ca, credentials, image } = question;
  const url = new URL(endpoint);
  const findings = await checkName(url);
  if (findings.some(({ state }) => state === 'bad')) return findings;
  const transport = createTransport({ timeoutMs, ...(ca === undefined ? {} : { ca }) });
  try {
    const started = performance.now();
    const ping = await transport.send({ method: 'GET', url: new URL('/v2/', url), headers: {} });
    await drain(ping);
    const taken = Math.round(performance.now() - started);
    findings.push(judgePing(question, ping, taken), ...judgeHeader(question, ping));
    if (image === undefined) return findings;
    const auth = createClientAuth(url, transport, credentials);
    const scope = `repository:${image.repository}:pull`;
    const ask = async (): Promise<Answer> => {
      const authorization = auth.header(scope);
      const query = image.ns === undefined ? '' : `?ns=${encodeURIComponent(image.ns)}`;
      return transport.send({
        method: 'GET',
        url: new URL(`/v2/${image.repository}/manifests/${image.reference}${query}`, url),
        headers: { accept: acceptAll, ...(authorization === undefined ? {} : { authorization }) },
      });
    };
    let answer = await ask();
    if (answer.status === 401 && (await auth.learn(answer, scope, undefined))) {
      await drain(answer);
      answer = await ask();
    }
    await drain(answer);
    findings.push(judgeImage(question, answer, image));
  } catch (error) {
    findings.push({ what: 'pool', state: 'bad', text: explainFailure(endpoint, error) });
  } finally {
    transport.close();
  }
  return findings;
}

async function checkName(url: URL): Promise<ClientFinding[]> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0) return [];
  const what = 'pool name';
  try {
    const addresses = await lookup(host, { all: true });
    return [{ what, state: 'ok', text: `${host} is ${addresses.map(({ address }) => address).join(', ')}` }];
  } catch (error) {
    return [{ what, state: 'bad', text: `${host} has no address here: ${(error as Error).message}` }];
  }
}

function judgePing({ endpoint }: PoolQuestion, { status, headers }: Answer, taken: number): ClientFinding {
  const what = 'pool';
  if (status === 200) return { what, state: 'ok', text: `${endpoint} answers in ${taken} ms` };
  if (status !== 401) {
    return { what, state: 'bad', text: `${endpoint}/v2/ answers ${status}; a registry says 200 or 401` };
  }
  const challenge = parseChallenge(headers['www-authenticate']);
  const realm = challenge?.parameters['realm'] ?? '';
  const text = `${endpoint} answers in ${taken} ms and asks who one is`;
  if (challenge?.scheme !== 'bearer' || !URL.canParse(realm)) return { what, state: 'ok', text };
  if (new URL(realm).host === new URL(endpoint).host) return { what, state: 'ok', text };
  return {
    what,
    state: 'note',
    text: `${text}, at ${new URL(realm).host}: nobody can sign in while that is away`,
  };
}

function judgeHeader({ pool }: PoolQuestion, { headers }: Answer): ClientFinding[] {
  const what = 'pool';
  // The nearest one's is the last, where pools stand before pools.
  const said = headers[poolHeader.toLowerCase()]?.toString().split(',').at(-1)?.trim();
  if (typeof said !== 'string') {
    return [
      {
        what,
        state: 'note',
        text: `the answer does not say which pool it came through (${poolHeader}): another program answers at this address, or one in front drops the header`,
      },
    ];
  }
  if (pool === undefined || pool === said) return [];
  return [{ what, state: 'bad', text: `this is the pool "${said}", not "${pool}"` }];
}

function judgeImage(
  { endpoint, credentials }: PoolQuestion,
  { status }: Answer,
  { repository, reference }: { readonly repository: string; readonly reference: string },
): ClientFinding {
  const what = 'image';
  const name = `${repository}${reference.includes(':') ? '@' : ':'}${reference}`;
  const { host } = new URL(endpoint);
  if (status === 200) return { what, state: 'ok', text: `${name} comes through the pool` };
  // What is silent otherwise: engines take 401 and 403 of a mirror for "ask the registry itself", and the pull succeeds.
  const bypass = 'container engines then pull from the registry itself and say nothing';
  if (status === 401 || status === 403) {
    const who =
      credentials === undefined
        ? `without an account (this machine has none for ${host}: podman login ${host}, or the image's pull secret)`
        : `for the account "${credentials.username}"`;
    return { what, state: 'bad', text: `the pool answers ${status} for ${name} ${who}: ${bypass}` };
  }
  if (status === 404) {
    return {
      what,
      state: 'bad',
      text: `the pool knows no ${name} (404); if the registry does, it is another one than the pool's: ${bypass}`,
    };
  }
  return { what, state: 'bad', text: `the pool answers ${status} for ${name}: ${bypass}` };
}

/** The innermost reason, and what to do about those that certificates have. */
function explainFailure(endpoint: string, error: unknown): string {
  let inner = error as Error & { code?: string };
  while (inner.cause instanceof Error) inner = inner.cause;
  const code = inner.code ?? '';
  const hint = /CERT|SIGNATURE|ISSUER|ERR_TLS/.test(code)
    ? '; container engines refuse it too: give its certificates with --ca, also to "pool clients --install"'
    : '; container engines then pull from the registry itself';
  return `${endpoint} cannot be asked: ${inner.message}${hint}`;
}
