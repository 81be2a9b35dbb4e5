import { type FileTree, textFile } from '../file-tree.ts';

/** gid of Debian's group `shadow`, fixed for all machines. */
const shadowGroup = 42;

/** Who runs apps in every image, and who owns /home/<appname>. */
const app = { name: 'app', id: 10001 } as const;

/**
 * /etc/passwd, group, shadow and gshadow from base-passwd's masters, as its installation would make them, and the user `app`.
 * No account has a password, and no field says when it was changed: that would be today.
 */
export async function addAccounts(tree: FileTree): Promise<void> {
  const users = records(await tree.read('usr/share/base-passwd/passwd.master'));
  const groups = records(await tree.read('usr/share/base-passwd/group.master'));
  users.push([app.name, '*', String(app.id), String(app.id), app.name, '/home', '/usr/sbin/nologin']);
  groups.push([app.name, '*', String(app.id), '']);
  const locked = ([name = '', , ...rest]: string[]): string => [name, 'x', ...rest].join(':');
  const text = (lines: string[]): string => `${lines.join('\n')}\n`;
  tree.replace(textFile('etc/passwd', text(users.map(locked))));
  tree.replace(textFile('etc/group', text(groups.map(locked))));
  const shadow = users.map(([name]) => `${name}:*::0:99999:7:::`);
  tree.replace(textFile('etc/shadow', text(shadow), 0o640, shadowGroup));
  tree.replace(textFile('etc/gshadow', text(groups.map(([name]) => `${name}:*::`)), 0o640, shadowGroup));
}

function records(master: Buffer): string[][] {
  return master
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(':'));
}
