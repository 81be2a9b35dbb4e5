export type ShellWords =
  | { readonly words: readonly string[] }
  /** `shell` is true when the text is fine for a shell, but only for a shell. */
  | { readonly error: string; readonly shell: boolean };

/**
 * Splits a command as POSIX sh does (XCU 2.2, quoting), and refuses what would need a shell to mean anything: variables,
 * pipes, redirections, lists. Wildcards and `~` are plain characters: `java -cp lib/* Main` must reach java as it stands.
 */
export function splitShellWords(command: string): ShellWords {
  const text = command.replace(/^\s+|\s+$/g, '');
  const words: string[] = [];
  let word: string | undefined;
  let at = 0;
  while (at < text.length) {
    const character = text[at] ?? '';
    at += 1;
    if (character === '\n' || character === '\r') return needsShell('several lines');
    if (character === ' ' || character === '\t') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (character === "'") {
      const end = text.indexOf("'", at);
      if (end < 0) return { error: "a ' is not closed", shell: false };
      word = (word ?? '') + text.slice(at, end);
      at = end + 1;
    } else if (character === '"') {
      const quoted = readDoubleQuoted(text, at);
      if ('error' in quoted) return quoted;
      word = (word ?? '') + quoted.text;
      at = quoted.end;
    } else if (character === '\\') {
      if (at >= text.length) return { error: 'a \\ stands at the end', shell: false };
      word = (word ?? '') + text[at];
      at += 1;
    } else if (character === '$') {
      return needsShell(variableAt(text, at - 1));
    } else if ('|&;<>()`'.includes(character)) {
      const operator = /^(?:&&|\|\||>>|<<)/.exec(text.slice(at - 1))?.[0] ?? character;
      return needsShell(operator);
    } else word = (word ?? '') + character;
  }
  if (word !== undefined) words.push(word);
  const first = words[0];
  if (first === undefined || first === '') return { error: 'must not be empty', shell: false };
  if (/^[A-Za-z_][A-Za-z0-9_]*=/.test(first)) return needsShell(`${first.slice(0, first.indexOf('='))}=…`);
  return { words };
}

function needsShell(what: string): ShellWords & { error: string } {
  return { error: `"${what}" means something to a shell only, and cmd runs none`, shell: true };
}

function variableAt(text: string, at: number): string {
  return /^\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[^}]*\}|\(|.)?/.exec(text.slice(at, at + 64))?.[0] ?? '$';
}

function readDoubleQuoted(
  text: string,
  start: number,
): { text: string; end: number } | (ShellWords & { error: string }) {
  let result = '';
  for (let at = start; at < text.length; at += 1) {
    const character = text[at] ?? '';
    if (character === '"') return { text: result, end: at + 1 };
    if (character === '$' || character === '`')
      return needsShell(character === '$' ? variableAt(text, at) : '`');
    if (character === '\\' && /["\\$`\n]/.test(text[at + 1] ?? '')) {
      at += 1;
      if (text[at] !== '\n') result += text[at];
    } else result += character;
  }
  return { error: 'a " is not closed', shell: false };
}
