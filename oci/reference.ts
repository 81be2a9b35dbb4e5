import { type Digest, isDigest } from './digest.ts';

/** distribution-spec "Pulling manifests": `<name>` at most 255 characters, as clients limit host + name to that. */
const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const repositoryPattern = new RegExp(`^${component}(?:/${component})*$`);
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const hostPattern = /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/;

export function isRepositoryName(text: string): boolean {
  return text.length <= 255 && repositoryPattern.test(text);
}

export function isTag(text: string): boolean {
  return tagPattern.test(text);
}

/** `[host/]repository[:tag][@digest]`, as people write it. */
export interface ImageReference {
  /** Undefined where the first part is no host: it has neither a dot, nor a colon, nor is it `localhost`. */
  readonly host?: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** Undefined when `text` is no image reference. */
export function parseImageReference(text: string): ImageReference | undefined {
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    const written = rest.slice(at + 1);
    if (!isDigest(written)) return undefined;
    digest = written;
    rest = rest.slice(0, at);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(':');
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1);
    if (!isTag(tag)) return undefined;
    rest = rest.slice(0, colon);
  }
  let host: string | undefined;
  const slash = rest.indexOf('/');
  const first = slash < 0 ? '' : rest.slice(0, slash);
  if (first === 'localhost' || /[.:[\]A-Z]/.test(first)) {
    if (!hostPattern.test(first)) return undefined;
    host = first;
    rest = rest.slice(slash + 1);
  }
  if (!isRepositoryName(rest)) return undefined;
  return {
    ...(host === undefined ? {} : { host }),
    repository: rest,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

export function formatImageReference(reference: ImageReference): string {
  const host = reference.host === undefined ? '' : `${reference.host}/`;
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${host}${reference.repository}${tag}${digest}`;
}
