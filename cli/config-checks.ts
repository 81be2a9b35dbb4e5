import { resolve } from 'node:path';
import type { NginxValue } from '../cache-proxy/nginx/grammar.ts';
import type { ValueFault } from '../core/config/settings.ts';

/** One fault of the value itself. */
export function fault(message: string, hint?: string): ValueFault[] {
  return [{ path: [], message, ...(hint === undefined ? {} : { hint }) }];
}

/** `relative`: of a path that becomes absolute only later. */
export function fitsNginx(kind: NginxValue, { relative = false } = {}): (value: string) => ValueFault[] {
  return (value) => {
    const fits = kind.test(value) || (relative && kind.test(resolve('/folder', value)));
    return fits ? [] : fault(`must be ${relative ? kind.wanted.replace('an absolute', 'a') : kind.wanted}`);
  };
}

/** The same for each entry of a list. */
export function eachFitsNginx(kind: NginxValue): (value: string[]) => ValueFault[] {
  return (value) =>
    value.flatMap((entry, index) =>
      kind.test(entry) ? [] : [{ path: [index], message: `"${entry}" must be ${kind.wanted}` }],
    );
}
