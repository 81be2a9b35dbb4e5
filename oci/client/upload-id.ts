import { OciError } from '../errors.ts';
import { formatRoute } from '../route.ts';

/**
 * A session's id for the `Registry` interface, made from a Location: its last part where that is all there is to it, else
 * the whole path and query (distribution keeps signed state there).
 * Undefined for another server: our credentials and the blob are for this one only.
 */
export function uploadIdOf(location: string, base: URL, repository: string): string | undefined {
  if (!URL.canParse(location, base)) return undefined;
  const url = new URL(location, base);
  if (url.origin !== base.origin) return undefined;
  const prefix = formatRoute({ kind: 'uploads', repository });
  const last = url.pathname.slice(prefix.length);
  if (url.pathname.startsWith(prefix) && url.search === '' && plainId.test(last)) return last;
  return `~${Buffer.from(url.pathname + url.search).toString('base64url')}`;
}

/** Errors: BLOB_UPLOAD_UNKNOWN for an id that no Location of this repository's sessions gave: an id may come from outside. */
export function addressOfUpload(registry: URL, repository: string, id: string): URL {
  const prefix = formatRoute({ kind: 'uploads', repository });
  if (plainId.test(id)) return new URL(prefix + id, registry);
  const path = id.startsWith('~') ? Buffer.from(id.slice(1), 'base64url').toString() : '';
  if (path.startsWith('/') && URL.canParse(path, registry)) {
    const url = new URL(path, registry);
    if (url.origin === registry.origin && url.pathname.startsWith(prefix)) return url;
  }
  throw new OciError('BLOB_UPLOAD_UNKNOWN');
}

const plainId = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$/;
