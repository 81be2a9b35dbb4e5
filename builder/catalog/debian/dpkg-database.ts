import { createHash } from 'node:crypto';
import { directory, type FileTree, textFile } from '../file-tree.ts';
import { type InstalledPackage, mergedPath } from './read-package.ts';

/**
 * Writes /var/lib/dpkg as dpkg itself would have left it, so that `dpkg -l`, apt in derived images and vulnerability scanners
 * see what is installed, and triggers (ldconfig, CA certificates) fire when more is. Formats: dpkg's own, deb-triggers(5).
 */
export async function addDpkgDatabase(tree: FileTree, packages: readonly InstalledPackage[]): Promise<void> {
  const stanzas: string[] = [];
  const fileTriggers: string[] = [];
  const namedTriggers = new Map<string, string[]>();
  for (const installed of packages) {
    const id = packageId(installed);
    stanzas.push(await statusStanza(tree, installed));
    const list = Buffer.from(`${installed.paths.join('\n')}\n`, 'latin1');
    tree.replace(textFile(`var/lib/dpkg/info/${id}.list`, list));
    for (const { name, mode, text } of installed.members) {
      tree.replace(textFile(`var/lib/dpkg/info/${id}.${name}`, text, mode & 0o755));
      if (name !== 'triggers') continue;
      for (const { trigger, options } of interests(text.toString())) {
        if (trigger.startsWith('/')) fileTriggers.push(`${trigger} ${id}${options}`);
        else namedTriggers.set(trigger, [...(namedTriggers.get(trigger) ?? []), `${id}${options}`]);
      }
    }
  }
  const base = 'var/lib/dpkg';
  for (const name of ['alternatives', 'info', 'parts', 'triggers', 'updates']) {
    tree.add(directory(`${base}/${name}`));
  }
  tree.replace(textFile(`${base}/status`, `${stanzas.join('\n')}`));
  for (const name of ['available', 'diversions', 'statoverride'])
    tree.replace(textFile(`${base}/${name}`, ''));
  tree.replace(textFile(`${base}/info/format`, '1\n'));
  tree.replace(textFile(`${base}/triggers/File`, lines(fileTriggers)));
  tree.replace(textFile(`${base}/triggers/Unincorp`, ''));
  for (const [name, ids] of namedTriggers) tree.replace(textFile(`${base}/triggers/${name}`, lines(ids)));
}

/** Packages that may be there for several architectures at once carry theirs in file names. */
function packageId(installed: InstalledPackage): string {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}: *(.*)$`, 'm').exec(installed.control)?.[1];
  return field('Multi-Arch') === 'same' ? `${installed.name}:${field('Architecture')}` : installed.name;
}

async function statusStanza(tree: FileTree, installed: InstalledPackage): Promise<string> {
  const control = installed.control.trimEnd().replace(/^(Package: .*)$/m, '$1\nStatus: install ok installed');
  const conffiles = installed.members.find(({ name }) => name === 'conffiles')?.text.toString();
  const rows: string[] = [];
  for (const path of conffiles?.split('\n') ?? []) {
    // `remove-on-upgrade /path` names a file of an earlier version.
    if (!path.startsWith('/')) continue;
    const content = await tree.read(mergedPath(path.slice(1)));
    rows.push(` ${path} ${createHash('md5').update(content).digest('hex')}`);
  }
  return rows.length === 0 ? `${control}\n` : `${control}\nConffiles:\n${rows.join('\n')}\n`;
}

/** The trigger directives that make a package wait for something; `activate` ones need no entry. */
function interests(text: string): { trigger: string; options: string }[] {
  return text.split('\n').flatMap((line) => {
    const match = /^interest(-await|-noawait)?\s+(\S+)/.exec(line.trim());
    if (match === null) return [];
    return [{ trigger: match[2] ?? '', options: match[1] === '-noawait' ? '/noawait' : '' }];
  });
}

function lines(list: readonly string[]): string {
  return list.map((line) => `${line}\n`).join('');
}
