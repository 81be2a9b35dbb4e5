import type { Directive } from './render.ts';

/** What stands in a location that answers 503: a registry's clients read JSON, and try again. `message`: words without quotes. */
export function unavailable(message: string): Directive[] {
  return [
    ['default_type', 'application/json'],
    ['add_header', 'Retry-After 2 always'],
    ['return', `503 '{"errors":[{"code":"UNKNOWN","message":"${message}"}]}'`],
  ];
}
