import { isUtf8 } from 'node:buffer';
import { minSecretBytes } from './secret-names.ts';

/** Bytes that give a secret away. */
export interface SecretPattern {
  /** Its name. */
  readonly secret: string;
  readonly bytes: Buffer;
}

export type SecretValues = ReadonlyMap<string, Buffer>;

/** Lines of one value that are looked for by themselves. */
const mostLines = 200;
/** Longer patterns are looked for in parts: a comparison at each place of a long log must stay short. */
const longestPattern = 1024;

/**
 * What must not stand in a log: each value, its lines, and both as tools print them: base64 at any place of a longer text and wrapped, hex, in
 * addresses, JSON, XML and shells, backwards. A build that means to tell its secrets finds other ways; this is for accidents.
 */
export function logPatterns(values: SecretValues): readonly SecretPattern[] {
  return collect(values, (value) => {
    const lines = linesOf(value).filter((line) => !isFrame(line));
    return [...wholeForms(value), ...lines, ...lines.map(reversed)];
  });
}

/** What must not stand in a file of an image: as in a log, but of lines only those that look like a token, as any file may hold the others. */
export function contentPatterns(values: SecretValues): readonly SecretPattern[] {
  return collect(values, (value) => [...wholeForms(value), ...linesOf(value).filter(isToken)]);
}

function collect(
  values: SecretValues,
  formsOf: (value: Buffer) => readonly Buffer[],
): readonly SecretPattern[] {
  const patterns = new Map<string, SecretPattern>();
  for (const [secret, value] of values) {
    for (const form of formsOf(trimmed(value)).flatMap(inParts)) {
      if (form.length < minSecretBytes) continue;
      const key = form.toString('latin1');
      if (!patterns.has(key)) patterns.set(key, { secret, bytes: form });
    }
  }
  return [...patterns.values()];
}

function wholeForms(value: Buffer): Buffer[] {
  return [value, reversed(value), ...textForms(value), ...base64Forms(value), ...hexForms(value)];
}

/** Without the blanks and line ends around it, which no tool keeps. */
function trimmed(value: Buffer): Buffer {
  return Buffer.from(value.toString('latin1').replace(/^[\s\0]+|[\s\0]+$/g, ''), 'latin1');
}

function inParts(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += longestPattern) {
    parts.push(bytes.subarray(at, at + longestPattern));
  }
  return parts;
}

function linesOf(value: Buffer): Buffer[] {
  const lines = value.toString('latin1').split(/[\r\n]+/, mostLines);
  return lines.length < 2 ? [] : lines.map((line) => Buffer.from(line.trim(), 'latin1'));
}

/** `-----BEGIN PRIVATE KEY-----` tells nothing and stands in many a file. */
function isFrame(line: Buffer): boolean {
  return /^-+(?:BEGIN|END) [A-Z0-9 ]+-+$/.test(line.toString('latin1'));
}

function isToken(line: Buffer): boolean {
  const text = line.toString('latin1');
  return /^[A-Za-z0-9+/=_.~-]{20,}$/.test(text) && /\d/.test(text) && /[A-Za-z]/.test(text);
}

/** As address, JSON, XML and shell write the text. */
function textForms(value: Buffer): Buffer[] {
  if (!isUtf8(value)) return [];
  const text = value.toString('utf8');
  const address = encodeURIComponent(text);
  // What encodeURIComponent leaves and others do not (RFC 3986, 2.2).
  const strict = address.replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
  const lower = (encoded: string): string => encoded.replace(/%../g, (code) => code.toLowerCase());
  const xml = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  const forms = [
    address,
    strict,
    lower(address),
    lower(strict),
    strict.replaceAll('%20', '+'),
    JSON.stringify(text).slice(1, -1),
    xml,
    xml.replaceAll('"', '&quot;'),
    text.replaceAll("'", "'\\''"),
    text.replaceAll(/\r?\n/g, '\r\n'),
  ];
  return forms.filter((form) => form !== text).map((form) => Buffer.from(form));
}

/** Columns at which tools break base64: `base64` itself, PEM. */
const wraps = [76, 64];

function base64Forms(value: Buffer): Buffer[] {
  const forms: string[] = [];
  for (const before of [0, 1, 2]) {
    const whole = Buffer.concat([Buffer.alloc(before), value])
      .toString('base64')
      .replace(/=+$/, '');
    // Signs that also depend on the bytes before and behind it.
    const sure = whole.slice(Math.ceil((before * 8) / 6), Math.floor(((before + value.length) * 8) / 6));
    forms.push(sure);
    if (before > 0) continue;
    forms.push(whole);
    for (const wrap of wraps) {
      if (whole.length <= wrap) continue;
      for (let at = 0; at < whole.length; at += wrap) forms.push(whole.slice(at, at + wrap));
    }
  }
  const forAddresses = forms.map((form) => form.replaceAll('+', '-').replaceAll('/', '_'));
  return [...forms, ...forAddresses].map((form) => Buffer.from(form));
}

function hexForms(value: Buffer): Buffer[] {
  const hex = value.toString('hex');
  return [Buffer.from(hex), Buffer.from(hex.toUpperCase())];
}

function reversed(bytes: Buffer): Buffer {
  return Buffer.from(bytes).reverse();
}
