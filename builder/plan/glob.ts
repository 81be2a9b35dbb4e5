/**
 * Globs over slash-separated paths, as App.yaml (`source`, `outputs`) and .dockerignore use them:
 *
 * - `*` any characters within one part of the path, `?` one character, `[a-z]` `[!a-z]` `[^a-z]` one of a set, `\x` x itself;
 * - `**` as a whole part: any number of parts, none included;
 * - a pattern that matches a directory covers everything below it; a leading `./` or `/` and a trailing `/` mean nothing.
 *
 * Time is bounded by |pattern| × |path| for any input: there is one backtracking point, never a tree of them.
 */
export interface Glob {
  readonly pattern: string;
  /** Whether the pattern matches this path or a directory above it. */
  matches(path: string): boolean;
}

type Token = { kind: 'literal'; text: string } | { kind: 'any' } | { kind: 'star' } | ClassToken;

interface ClassToken {
  readonly kind: 'class';
  readonly negated: boolean;
  readonly ranges: readonly (readonly [string, string])[];
}

type Part = '**' | readonly Token[];

/** Errors: RangeError when the pattern is longer than 1024 characters, or a set has no end. */
export function compileGlob(pattern: string): Glob {
  if (pattern.length > 1024) throw new RangeError('a pattern has at most 1024 characters');
  const parts: Part[] = [];
  for (const text of splitParts(pattern)) {
    if (text === '' || text === '.') continue;
    if (text !== '**') parts.push(tokenize(text));
    else if (parts.at(-1) !== '**') parts.push('**');
  }
  return { pattern, matches: (path) => matchParts(parts, path.split('/')) };
}

/** True when the text is a path without wildcards. */
export function isPlainPath(pattern: string): boolean {
  return !/[*?[\]\\]/.test(pattern);
}

/** A slash within a set or after a backslash separates too: no file name holds one. */
function splitParts(pattern: string): string[] {
  return pattern.replaceAll('\\/', '/').split('/');
}

function tokenize(text: string): readonly Token[] {
  const tokens: Token[] = [];
  const characters = Array.from(text);
  for (let at = 0; at < characters.length; at += 1) {
    const character = characters[at] ?? '';
    if (character === '*') {
      if (tokens.at(-1)?.kind !== 'star') tokens.push({ kind: 'star' });
    } else if (character === '?') tokens.push({ kind: 'any' });
    else if (character === '[') {
      const [token, end] = tokenizeClass(characters, at);
      tokens.push(token);
      at = end;
    } else if (character === '\\' && at + 1 < characters.length) {
      at += 1;
      tokens.push({ kind: 'literal', text: characters[at] ?? '' });
    } else tokens.push({ kind: 'literal', text: character });
  }
  return tokens;
}

function tokenizeClass(characters: readonly string[], start: number): [ClassToken, number] {
  const ranges: [string, string][] = [];
  let at = start + 1;
  const negated = characters[at] === '!' || characters[at] === '^';
  if (negated) at += 1;
  const next = (): string => {
    if (characters[at] === '\\') at += 1;
    const character = characters[at];
    if (character === undefined) throw new RangeError('a set "[" without its "]"');
    at += 1;
    return character;
  };
  for (let first = true; first || characters[at] !== ']'; first = false) {
    const low = next();
    if (characters[at] === '-' && characters[at + 1] !== ']') {
      at += 1;
      ranges.push([low, next()]);
    } else ranges.push([low, low]);
  }
  return [{ kind: 'class', negated, ranges }, at];
}

/** The classic wildcard walk over parts: on a mismatch, the last `**` takes one part more. */
function matchParts(parts: readonly Part[], path: readonly string[]): boolean {
  let part = 0;
  let at = 0;
  let retryPart = -1;
  let retryAt = 0;
  for (;;) {
    const current = parts[part];
    // The whole pattern is used up: it matched the path itself or a directory above it.
    if (current === undefined) return at > 0 || parts.length === 0;
    if (current === '**') {
      part += 1;
      if (part === parts.length) return true;
      retryPart = part;
      retryAt = at;
      continue;
    }
    const text = path[at];
    if (text !== undefined && matchTokens(current, text)) {
      part += 1;
      at += 1;
      continue;
    }
    if (retryPart < 0 || retryAt >= path.length) return false;
    retryAt += 1;
    part = retryPart;
    at = retryAt;
  }
}

function matchTokens(tokens: readonly Token[], text: string): boolean {
  const characters = Array.from(text);
  let token = 0;
  let at = 0;
  let retryToken = -1;
  let retryAt = 0;
  for (;;) {
    const current = tokens[token];
    if (current === undefined && at === characters.length) return true;
    if (current?.kind === 'star') {
      token += 1;
      retryToken = token;
      retryAt = at;
      continue;
    }
    const character = characters[at];
    if (current !== undefined && character !== undefined && matchToken(current, character)) {
      token += 1;
      at += 1;
      continue;
    }
    if (retryToken < 0 || retryAt >= characters.length) return false;
    retryAt += 1;
    token = retryToken;
    at = retryAt;
  }
}

function matchToken(token: Token, character: string): boolean {
  if (token.kind === 'literal') return token.text === character;
  if (token.kind === 'class') {
    return token.ranges.some(([low, high]) => low <= character && character <= high) !== token.negated;
  }
  return true;
}
