import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { UserError } from '../../core/user-error.ts';
import type { Pool } from '../pools/pool.ts';
import type { ClientCertificates } from './client-pool.ts';

const pemBlock = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

export interface FoundCertificates {
  readonly certificates: ClientCertificates;
  /** Files that pools.yaml names and that are not here; sentences for the person at the terminal. */
  readonly missing: readonly string[];
}

/**
 * The certificates that clients of a pool need. `caFile` are those that the pool's own is checked with; without it, the pool's own where that is signed by
 * itself, and none where an authority signed it. Errors: UserError when `caFile` cannot be read or holds none.
 */
export async function findClientCertificates(
  pool: Pool,
  caFile: string | undefined,
): Promise<FoundCertificates> {
  const missing: string[] = [];
  const optional = async (file: string | undefined, what: string): Promise<string | undefined> => {
    if (file === undefined) return undefined;
    try {
      return await readCertificates(file);
    } catch (error) {
      missing.push(`${what}: ${(error as Error).message}; clients are told to believe the system's only`);
      return undefined;
    }
  };
  const own =
    caFile === undefined
      ? selfSigned(await optional(pool.tls?.certificate, "the pool's certificate (or give --ca FILE)"))
      : await readCertificates(caFile);
  const origin = await optional(pool.origin.ca, 'the certificates of the origin');
  const upstreams: Record<string, string> = {};
  for (const { ns, ca } of pool.upstreams) {
    const text = await optional(ca, `the certificates of ${ns}`);
    if (text !== undefined) upstreams[ns] = text;
  }
  return {
    certificates: {
      ...(own === undefined ? {} : { pool: own }),
      ...(origin === undefined ? {} : { origin }),
      upstreams,
    },
    missing,
  };
}

/** The certificates of a PEM file and nothing else of it: a key may stand there, too. Errors: UserError. */
async function readCertificates(file: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new UserError(`cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
  const blocks = text.match(pemBlock) ?? [];
  if (blocks.length === 0) throw new UserError(`${file} holds no certificate (PEM)`);
  return `${blocks.join('\n')}\n`;
}

/** The last one of a chain, where nobody else signed it. */
function selfSigned(chain: string | undefined): string | undefined {
  const last = chain?.match(pemBlock)?.at(-1);
  if (last === undefined) return undefined;
  try {
    const certificate = new X509Certificate(last);
    const isRoot = certificate.subject === certificate.issuer && certificate.verify(certificate.publicKey);
    return isRoot ? `${last}\n` : undefined;
  } catch {
    return undefined;
  }
}
