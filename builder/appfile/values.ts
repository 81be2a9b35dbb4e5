import type { Port } from '../plan/plan.ts';

/** What App.yaml may say after the slash of a port, and what it is on the wire. */
const schemes: Readonly<Record<string, 'tcp' | 'udp'>> = {
  tcp: 'tcp',
  udp: 'udp',
  http: 'tcp',
  https: 'tcp',
  http2: 'tcp',
  grpc: 'tcp',
  ws: 'tcp',
};

export const portSchemes: readonly string[] = Object.keys(schemes);

/** `8080`, `"8080"`, `"8080/http"`, `"53/udp"`; a text that says why not otherwise. */
export function parsePort(written: string | number): Port | string {
  const match = /^([0-9]{1,5})(?:\/([a-z0-9]+))?$/.exec(String(written));
  if (match === null) {
    return String(written).includes(':')
      ? 'must be a port of the container; ports of the host are the scheduler’s business'
      : 'must be a port, such as 8080, "8080/http" or "53/udp"';
  }
  const port = Number(match[1]);
  if (port < 1 || port > 65535) return 'must be a port from 1 to 65535';
  const scheme = match[2] ?? 'tcp';
  if (!Object.hasOwn(schemes, scheme))
    return `unknown protocol "${scheme}"; known: ${portSchemes.join(', ')}`;
  const protocol = schemes[scheme] ?? 'tcp';
  return { port, protocol, ...(scheme === protocol ? {} : { scheme }) };
}

const units: Readonly<Record<string, number>> = {
  b: 0,
  kb: 1,
  kib: 1,
  mb: 2,
  mib: 2,
  gb: 3,
  gib: 3,
  tb: 4,
  tib: 4,
};

/** `512MB` → bytes. Units count by 1024 as docker's do. Undefined when there is no unit (512) or it is ambiguous (512m). */
export function parseMemory(text: string): number | undefined {
  const match = /^([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([A-Za-z]{1,3})$/.exec(text);
  const power = units[match?.[2]?.toLowerCase() ?? ''];
  if (match === null || power === undefined) return undefined;
  const bytes = Math.round(Number(match[1]) * 1024 ** power);
  return bytes > 0 && Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** `90s`, `15m`, `1h` → seconds. The text was checked by the schema. */
export function parseSeconds(text: string): number {
  const factor = { s: 1, m: 60, h: 3600 }[text.at(-1) as 's' | 'm' | 'h'];
  return Number(text.slice(0, -1)) * factor;
}

const signals = 'HUP INT QUIT ABRT KILL USR1 USR2 ALRM TERM CONT STOP TSTP PWR WINCH RTMIN RTMIN+3';

/** `TERM`, `SIGTERM`, `term` → `SIGTERM`; undefined for what is no signal. */
export function parseSignal(text: string): string | undefined {
  const name = text.toUpperCase().replace(/^SIG/, '');
  return signals.split(' ').includes(name) ? `SIG${name}` : undefined;
}
