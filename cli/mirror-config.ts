import type { Static } from 'typebox';
import { compileRepositoryGlob } from '../core/auth/repository-glob.ts';
import type { ValueFault } from '../core/config/settings.ts';
import { Type } from '../core/type.ts';
import { isRepositoryName } from '../oci/reference.ts';
import { isLoopback } from './listen-address.ts';

const text = Type.String({ minLength: 1 });

/** One entry of `mirrors`; what each key means to whoever writes it is in docs/mirrors.md. */
const mirrorSchema = Type.Object(
  {
    /** Repositories under it are mirrored. */
    prefix: text,
    /** `https://` and host. */
    upstream: text,
    username: Type.Optional(text),
    password: Type.Optional(text),
    /** Absolute path; read once at the start. */
    passwordFile: Type.Optional(text),
    /** Globs over the upstream's names; none = all. */
    allow: Type.Optional(Type.Array(text)),
    deny: Type.Optional(Type.Array(text)),
    /** Seconds; default 300. */
    revalidate: Type.Optional(Type.Integer({ minimum: 0, maximum: 31_536_000 })),
    /** Default: true for registry-1.docker.io. */
    library: Type.Optional(Type.Boolean()),
    /** PEM file, absolute path. */
    ca: Type.Optional(text),
    /** Plain HTTP, to loopback only. */
    insecureHttp: Type.Optional(Type.Boolean()),
    /** `host[:port]` of token services that may see the password, beside the upstream's own host. */
    authRealmHosts: Type.Optional(Type.Array(text)),
    /** `host[:port]` that downloads may be redirected to although their addresses are private. */
    redirectHosts: Type.Optional(Type.Array(text)),
  },
  { additionalProperties: false },
);

export type MirrorConfig = Static<typeof mirrorSchema>;

/** The setting `mirrors`. A variable holds it as JSON; `…_FILE` names a file with that JSON. */
export const mirrorsSchema = Type.Array(mirrorSchema, {
  default: [],
  description:
    'Repository prefixes that are pulled from other registries on demand; see docs/mirrors.md. As a variable: JSON.',
  'x-secret': true,
  'x-check': checkMirrors,
});

/** Undefined when `text` is no origin of a registry. */
export function parseUpstream(upstream: string): URL | undefined {
  const url = URL.canParse(upstream) ? new URL(upstream) : undefined;
  const plain = url?.pathname === '/' && url.search === '' && url.hash === '';
  return plain && (url.protocol === 'https:' || url.protocol === 'http:') ? url : undefined;
}

function checkMirrors(mirrors: readonly MirrorConfig[]): ValueFault[] {
  const seen = new Set<string>();
  return mirrors.flatMap((mirror, index) => {
    const faults = checkMirror(mirror);
    if (seen.has(mirror.prefix))
      faults.push({ path: ['prefix'], message: `"${mirror.prefix}" is mirrored twice` });
    seen.add(mirror.prefix);
    return faults.map((fault) => ({ ...fault, path: [index, ...fault.path] }));
  });
}

function checkMirror(mirror: MirrorConfig): ValueFault[] {
  const faults: ValueFault[] = [];
  const wrong = (path: readonly (string | number)[], message: string, hint?: string): void =>
    void faults.push({ path, message, ...(hint === undefined ? {} : { hint }) });
  if (!isRepositoryName(mirror.prefix)) {
    wrong(['prefix'], `"${mirror.prefix}" is no repository name`, 'write for example docker.io');
  }
  checkUpstream(mirror, wrong);
  const passwords = [mirror.password, mirror.passwordFile].filter((value) => value !== undefined);
  if (passwords.length > 1) wrong(['passwordFile'], 'give either password or passwordFile');
  if (mirror.username === undefined && passwords.length > 0) {
    wrong([mirror.password === undefined ? 'passwordFile' : 'password'], 'a password needs a username');
  }
  if (mirror.username !== undefined && passwords.length === 0) {
    wrong(['username'], 'a username needs password or passwordFile');
  }
  if (mirror.username?.includes(':') === true) wrong(['username'], 'must hold no colon');
  for (const key of ['passwordFile', 'ca'] as const) {
    if (mirror[key]?.startsWith('/') === false) wrong([key], 'must be an absolute path');
  }
  for (const key of ['allow', 'deny'] as const) {
    for (const [at, glob] of (mirror[key] ?? []).entries()) {
      if (compileRepositoryGlob(glob) === undefined) wrong([key, at], `"${glob}" matches no repository`);
    }
  }
  for (const key of ['authRealmHosts', 'redirectHosts'] as const) {
    for (const [at, host] of (mirror[key] ?? []).entries()) {
      const url = URL.canParse(`https://${host}`) ? new URL(`https://${host}`) : undefined;
      if (url === undefined || url.host !== host) {
        wrong([key, at], `"${host}" is no host`, 'write auth.example.com or auth.example.com:8443');
      }
    }
  }
  return faults;
}

function checkUpstream(
  { upstream, insecureHttp }: MirrorConfig,
  wrong: (path: readonly string[], message: string, hint?: string) => void,
): void {
  const url = parseUpstream(upstream);
  if (url === undefined) {
    wrong(
      ['upstream'],
      'must be an address without a path, e.g. https://registry-1.docker.io',
      /^[a-z]+:\/\//i.test(upstream) ? undefined : 'put https:// in front',
    );
    return;
  }
  if (url.username !== '' || url.password !== '') {
    wrong(['upstream'], 'must hold no user name or password', 'use username and password');
  }
  if (hubPages.has(url.host)) {
    wrong(['upstream'], 'is a web site, not a registry', 'Docker Hub is https://registry-1.docker.io');
  }
  if (url.protocol === 'https:') return;
  const loopback = isLoopback(url.hostname.replace(/^\[|\]$/g, ''));
  if (!loopback) {
    wrong(['upstream'], 'must be https: passwords and images would pass in the clear');
  } else if (insecureHttp !== true) {
    wrong(['upstream'], 'is plain HTTP', 'say insecureHttp: true, which only loopback may');
  }
}

const hubPages: ReadonlySet<string> = new Set(['docker.io', 'www.docker.com', 'hub.docker.com']);
