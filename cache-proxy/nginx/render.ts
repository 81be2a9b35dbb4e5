import { NginxConfFile } from 'nginx-conf';

/**
 * A directive: name, value, and for a block what stands in it. Directives of one name come out together, in the place of the first of them, so
 * what depends on the order of different directives cannot be written this way.
 */
export type Directive =
  | readonly [name: string, value: string]
  | readonly [name: string, value: string, children: readonly Directive[]];

/**
 * The text of a configuration. Errors: TypeError for a value that could end its directive. Values were made from checked ones, so this is the
 * second lock on that door.
 */
export function renderNginx(directives: readonly Directive[], comment: readonly string[] = []): string {
  let text: string | undefined;
  NginxConfFile.createFromSource('', { tab: '  ' }, (error, file) => {
    if (error !== null || file === undefined) throw error ?? new Error('nginx-conf made no file');
    add(file.nginx, directives);
    text = file.toString();
  });
  // It calls back before it returns, as there is nothing to read.
  if (text === undefined) throw new Error('nginx-conf did not answer');
  return comment.map((line) => `# ${line}\n`.replace('# \n', '#\n')).join('') + text;
}

function add(block: NginxConfFile['nginx'], directives: readonly Directive[]): void {
  for (const [name, value, children] of directives) {
    // In a map the names are what is compared.
    if (!(/^[a-z][a-z0-9_]*$/.test(name) || /^"[^"\\\n]*"$/.test(name)) || !isOneValue(value)) {
      throw new TypeError(`not a directive: ${JSON.stringify(`${name} ${value}`)}`);
    }
    block._add(name, value, children === undefined ? undefined : []);
    if (children === undefined) continue;
    const added = block[name]?.at(-1);
    if (added === undefined) throw new Error(`nginx-conf did not keep ${name}`);
    add(added, children);
  }
}

/** Words, or whole texts in quotes without a quote of their own in them. */
function isOneValue(value: string): boolean {
  return /^(?:[^\s;{}"'\\#]|"[^"\\\n]*"|'[^'\\\n]*'| )*$/.test(value);
}
