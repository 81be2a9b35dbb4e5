import { createHash } from 'node:crypto';
import { layerEpoch } from '../../../oci/layer/entry.ts';

const magic = 0xfeedfeed;
const trustedCertificate = 2;

/** What Debian's ca-certificates-java, as Java itself, protects its store of public certificates with. */
const password = 'changeit';

/**
 * A Java key store (format JKS, version 2) of trusted certificates with all dates at the layers' epoch and its entries in order of alias: Debian's
 * `/etc/ssl/certs/java/cacerts` otherwise names the moment of its making. Undefined = it is no such store, or it holds private keys.
 * Format: sun.security.provider.JavaKeyStore.
 */
export function normaliseKeyStore(store: Buffer): Buffer | undefined {
  if (store.length < 32 || store.readUInt32BE(0) !== magic || store.readUInt32BE(4) !== 2) return undefined;
  try {
    return rewrite(store);
  } catch (error) {
    // Cut short or damaged: it stays as it is.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function rewrite(store: Buffer): Buffer | undefined {
  const entries: { readonly alias: Buffer; readonly bytes: Buffer }[] = [];
  let at = 12;
  for (let count = store.readUInt32BE(8); count > 0; count -= 1) {
    const start = at;
    if (store.readUInt32BE(at) !== trustedCertificate) return undefined;
    const aliasEnd = at + 6 + store.readUInt16BE(at + 4);
    const typeEnd = aliasEnd + 10 + store.readUInt16BE(aliasEnd + 8);
    at = typeEnd + 4 + store.readUInt32BE(typeEnd);
    const bytes = Buffer.from(store.subarray(start, at));
    bytes.writeBigUInt64BE(BigInt(layerEpoch) * 1000n, aliasEnd - start);
    entries.push({ alias: store.subarray(start + 6, aliasEnd), bytes });
  }
  if (store.length !== at + 20) return undefined;
  entries.sort((a, b) => Buffer.compare(a.alias, b.alias));
  const body = Buffer.concat([store.subarray(0, 12), ...entries.map(({ bytes }) => bytes)]);
  return Buffer.concat([body, checksum(body)]);
}

function checksum(body: Buffer): Buffer {
  const secret = Buffer.from(password, 'utf16le').swap16();
  return createHash('sha1').update(secret).update('Mighty Aphrodite').update(body).digest();
}
