/** Real manifests nest five deep; whoever nests more wants to hurt a recursive reader. */
const maxDepth = 64;

/**
 * Looks for what JSON.parse lets through and other readers understand differently: names that occur twice in one object
 * (which one counts?) and nesting without end. Undefined = none; otherwise what is wrong.
 * Text that is not JSON may pass: JSON.parse comes next.
 */
export function checkJsonText(text: string): string | undefined {
  const names: (Set<string> | undefined)[] = [];
  let position = 0;
  while (position < text.length) {
    const character = text.charCodeAt(position);
    if (character === 0x22 /* " */) {
      const end = endOfString(text, position);
      const seen = names.at(-1);
      if (seen !== undefined && isName(text, end)) {
        const name = unescape(text.slice(position, end));
        if (seen.has(name)) return `the name ${name.slice(0, 100)} occurs twice in one object`;
        seen.add(name);
      }
      position = end;
      continue;
    }
    if (character === 0x7b /* { */ || character === 0x5b /* [ */) {
      if (names.length === maxDepth) return `nested deeper than ${maxDepth}`;
      names.push(character === 0x7b ? new Set() : undefined);
    } else if (character === 0x7d /* } */ || character === 0x5d /* ] */) {
      names.pop();
    }
    position++;
  }
  return undefined;
}

/** The position behind the closing quote. */
function endOfString(text: string, start: number): number {
  let position = start + 1;
  for (;;) {
    const quote = text.indexOf('"', position);
    if (quote < 0) return text.length;
    let backslashes = 0;
    while (text.charCodeAt(quote - 1 - backslashes) === 0x5c) backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
    position = quote + 1;
  }
}

function isName(text: string, end: number): boolean {
  let position = end;
  while (' \t\r\n'.includes(text.charAt(position)) && position < text.length) position++;
  return text.charCodeAt(position) === 0x3a;
}

/** Two spellings of one name ("a", "\u0061") are the same name. */
function unescape(quoted: string): string {
  if (!quoted.includes('\\')) return quoted;
  try {
    return JSON.stringify(JSON.parse(quoted));
  } catch {
    return quoted;
  }
}
