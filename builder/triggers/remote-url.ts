/** An address that git may be given. */
export interface RemoteUrl {
  readonly protocol: 'https' | 'http' | 'ssh';
  /** A name or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Of `ssh`. */
  readonly user?: string;
  /** Path of the repository without slashes around it and without `.git`: `example/web`. */
  readonly project: string;
  /** What git is given. */
  readonly href: string;
}

const ports = { https: 443, http: 80, ssh: 22 } as const;
const longest = 2000;

/**
 * Takes an address apart that git and ssh will be given, so nothing passes that either could take for an option, another transport
 * (`ext::`, `file://`, `git://`) or a credential. Returns the reason in words when it may not be used.
 */
export function parseRemoteUrl(
  text: string,
  options: { readonly insecureHttp?: boolean } = {},
): RemoteUrl | { readonly fault: string; readonly hint?: string } {
  if (text.length > longest || /[\s\p{Cc}\\'"`$]/u.test(text)) return { fault: 'is no address' };
  const protocol = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (protocol === undefined) {
    return /^[\w.-]+@[\w.-]+:[^/]/.test(text)
      ? { fault: 'must be an address', hint: `write ssh://${text.replace(':', '/')}` }
      : { fault: 'must begin with https:// or ssh://' };
  }
  if (protocol === 'http' && options.insecureHttp !== true) {
    return { fault: 'is plain HTTP', hint: 'say insecureHttp: true where nobody sits in between' };
  }
  if (protocol !== 'https' && protocol !== 'http' && protocol !== 'ssh') {
    return { fault: `uses ${protocol}://, and only https:// and ssh:// are fetched` };
  }
  if (!URL.canParse(text)) return { fault: 'is no address' };
  const url = new URL(text);
  if (url.search !== '' || url.hash !== '') return { fault: 'must have nothing behind the path' };
  const host = url.hostname.replace(/^\[|\]$/g, '');
  // ssh's own scheme is not looked into by URL: a host there may be anything.
  if (!/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/i.test(host) && !/^[0-9a-f:.]*:[0-9a-f:.]*$/i.test(host)) {
    return { fault: `"${host}" is no host` };
  }
  const user = url.username;
  if (url.password !== '' || (protocol !== 'ssh' && user !== '')) {
    return { fault: 'must hold no password or token', hint: 'use tokenFile' };
  }
  if (user !== '' && !/^[a-z0-9_][a-z0-9_.-]*$/i.test(user)) return { fault: `"${user}" is no user name` };
  const path = url.pathname;
  if (!/^\/[\w.~%+@/-]+$/.test(path) || /(?:^|\/)(?:\.\.?(?:\/|$)|-)/.test(path.replace(/%2e/gi, '.'))) {
    return { fault: 'must have the path of a repository' };
  }
  const port = url.port === '' ? ports[protocol] : Number(url.port);
  return {
    protocol,
    host: host.toLowerCase(),
    port,
    ...(user === '' ? {} : { user }),
    project: path.replace(/^\/+|\/+$/g, '').replace(/\.git$/, ''),
    href: url.href,
  };
}
