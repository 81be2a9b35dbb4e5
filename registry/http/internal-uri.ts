/**
 * Address of a file below a folder that a web server serves internally under `prefix`. The server decodes it once, so every byte that could mean
 * something is encoded. Undefined for a path that leads out of the folder.
 */
export function internalFileUri(prefix: string, path: string): string | undefined {
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..')) return undefined;
  return prefix + parts.map(encodeURIComponent).join('/');
}

/**
 * Address inside of a web server that fetches a presigned address of the store: `<prefix><scheme>/<host>[:<port>]<path>?<signature>`. Scheme and
 * host stand in it so that the server can refuse every store but the one it was told of.
 * Undefined for a path that the server would write differently when it sends it on: the signature is over exactly these bytes.
 */
export function internalStoreUri(prefix: string, address: string): string | undefined {
  const { protocol, host, pathname, search } = new URL(address);
  if (!/^[A-Za-z0-9._~/-]+$/.test(pathname) || pathname.includes('//')) return undefined;
  return `${prefix}${protocol.slice(0, -1)}/${host}${pathname}${search}`;
}
