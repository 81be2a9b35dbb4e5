/** What must not reach a reader as it is; a line without it (nearly all) is not looked at again. */
const suspicious = /(?!\t)[\p{Cc}\u202a-\u202e\u2066-\u2069]/u;
const escape = 0x1b;
const csi = 0x9b;
/** Of OSC, DCS, SOS, PM and APC, as the second byte of an escape sequence and as one C1 character. ECMA-48 5.6. */
const stringStarts = new Set([0x5d, 0x50, 0x58, 0x5e, 0x5f]);
const stringStartsC1 = new Set([0x90, 0x98, 0x9d, 0x9e, 0x9f]);

/**
 * A line of a build's output as its log keeps it: text, tabs and colours. Whoever reads a log reads it on a terminal, and a build's output must not
 * move its cursor, rename its window, answer its questions or turn a line around. Of a progress bar, which writes a line over
 * and over (CR), the last state is kept. Linear in the length of `text`.
 */
export function cleanLine(text: string): string {
  const line = text.replace(/\r+$/, '');
  if (!suspicious.test(line)) return line;
  let clean = '';
  for (let at = 0; at < line.length; ) {
    const code = line.charCodeAt(at);
    if (code === escape || (code >= 0x80 && code <= 0x9f)) {
      const sequence = readSequence(line, at);
      clean += sequence.colour;
      at = sequence.end;
      continue;
    }
    at++;
    if (code === 0x0d) clean = '';
    else if (isOverride(code)) clean += '\ufffd';
    else if (code === 0x09 || (code >= 0x20 && code !== 0x7f)) clean += line[at - 1];
  }
  return clean;
}

/** Left-to-right and right-to-left embeddings, overrides and isolates: a line that reads otherwise than it is. */
function isOverride(code: number): boolean {
  return (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/** The escape sequence or C1 control at `start`: where it ends, and itself when it only sets colours. */
function readSequence(line: string, start: number): { colour: string; end: number } {
  const first = line.charCodeAt(start);
  const second = line.charCodeAt(start + 1);
  if (first === csi || (first === escape && second === 0x5b)) {
    return readControl(line, first === csi ? start + 1 : start + 2);
  }
  if (stringStartsC1.has(first)) return { colour: '', end: endOfString(line, start + 1) };
  if (first !== escape) return { colour: '', end: start + 1 };
  if (stringStarts.has(second)) return { colour: '', end: endOfString(line, start + 2) };
  let end = start + 1;
  while (isBetween(line, end, 0x20, 0x2f)) end++;
  if (isBetween(line, end, 0x30, 0x7e)) end++;
  return { colour: '', end };
}

/** A control sequence whose parameters begin at `start`: those that end in `m` set colours (SGR). */
function readControl(line: string, start: number): { colour: string; end: number } {
  let end = start;
  while (isBetween(line, end, 0x20, 0x3f)) end++;
  const parameters = line.slice(start, end);
  const isColour = line[end] === 'm' && /^[0-9;:]{0,60}$/.test(parameters);
  if (isBetween(line, end, 0x40, 0x7e)) end++;
  return { colour: isColour ? `\u001b[${parameters}m` : '', end };
}

/** Behind BEL or ST; a string that does not end takes the rest of the line. */
function endOfString(line: string, start: number): number {
  for (let at = start; at < line.length; at++) {
    const code = line.charCodeAt(at);
    if (code === 0x07 || code === 0x9c) return at + 1;
    if (code === escape) return line[at + 1] === '\\' ? at + 2 : at;
  }
  return line.length;
}

function isBetween(line: string, at: number, low: number, high: number): boolean {
  const code = line.charCodeAt(at);
  return code >= low && code <= high;
}
