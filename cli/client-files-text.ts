import type { ClientFile, ClientSetup } from '../cache-proxy/clients/client-setup.ts';

/** The files of one client for reading, with what belongs to them as comments. */
export function clientSetupText({ client, files, merges, notes }: ClientSetup): string {
  return [
    `# ---- ${client} ----`,
    ...notes.flatMap(comment),
    ...(files.length + merges.length === 0 ? ['# no file is needed'] : []),
    '',
    ...files.map(clientFileText),
    ...merges.map(
      ({ path, add }) => `# ${path}: to what is there already, add\n${JSON.stringify(add, undefined, 2)}\n`,
    ),
    '',
  ].join('\n');
}

export function clientFileText({ path, content }: ClientFile): string {
  return `# ${path}\n${content.trimEnd()}\n`;
}

export function comment(text: string): string[] {
  return text.split('\n').map((line) => `# ${line}`);
}
