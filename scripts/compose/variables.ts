/** `NAME=value` lines of a `.env` file as Compose reads them: comments and empty lines apart, no quotes. */
export function readVariables(text: string): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const [, name, value] = assignment.exec(line) ?? [];
    if (name !== undefined && value !== undefined) found[name] = value;
  }
  return found;
}

/** The same text with these variables: in their lines where they have one, else at its end. */
export function setVariables(text: string, changes: Readonly<Record<string, string>>): string {
  const left = new Map(Object.entries(changes));
  const lines = text.replace(/\n*$/, '').split('\n');
  const changed = lines.map((line) => {
    const name = assignment.exec(line)?.[1] ?? '';
    const value = left.get(name);
    if (value === undefined) return line;
    left.delete(name);
    return `${name}=${value}`;
  });
  return [...changed, ...[...left].map(([name, value]) => `${name}=${value}`), ''].join('\n');
}

const assignment = /^([A-Za-z_][A-Za-z0-9_]*)=(.*?)\r?$/;
