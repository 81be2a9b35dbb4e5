/** Where and for what a client gets its token. */
export interface BearerChallenge {
  /** Address of the token service, e.g. `https://registry.example.com/token`. */
  readonly realm: string;
  readonly service: string;
  /** E.g. `repository:team/app:pull,push`; several with blanks between. */
  readonly scope?: string;
  /** RFC 6750 section 3.1: `invalid_token`, or `insufficient_scope` when the token was good but not enough. */
  readonly error?: 'invalid_token' | 'insufficient_scope';
}

/** Value of WWW-Authenticate for docker's token flow. */
export function bearerChallenge({ realm, service, scope, error }: BearerChallenge): string {
  const parameters = Object.entries({ realm, service, scope, error }).filter(
    ([, value]) => value !== undefined,
  );
  return `Bearer ${parameters.map(([name, value]) => `${name}=${quoted(String(value))}`).join(',')}`;
}

/** Value of WWW-Authenticate for git and people's tools. */
export function basicChallenge(realm: string): string {
  return `Basic realm=${quoted(realm)}, charset="UTF-8"`;
}

/** RFC 9110 quoted-string; what could end the header line is left out. */
function quoted(text: string): string {
  return `"${text.replace(/[^\x20-\x7e]/g, '').replace(/["\\]/g, '\\$&')}"`;
}
