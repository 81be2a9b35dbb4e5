import { directory, type FileTree, symlink, textFile } from '../file-tree.ts';
import { addAccounts } from './accounts.ts';
import { addCaBundle } from './ca-certificates.ts';
import { addDpkgDatabase } from './dpkg-database.ts';
import { addLinkerCache } from './libraries.ts';
import { type InstalledPackage, mergedDirectories } from './read-package.ts';

/**
 * Turns unpacked packages into a system: everything that their installation scripts would have made, since none of them is run.
 * `sources` becomes apt's source file, `excludes` dpkg's path-exclude patterns, so that later installations leave out the same.
 */
export async function layOut(
  tree: FileTree,
  packages: readonly InstalledPackage[],
  options: { readonly architecture: string; readonly sources: string; readonly excludes: readonly string[] },
): Promise<void> {
  for (const name of mergedDirectories) tree.replace(symlink(name, `usr/${name}`));
  await addBaseFiles(tree);
  await addAccounts(tree);
  await addCaBundle(tree);
  addAlternatives(tree);
  await addLinkerCache(tree, options.architecture);
  tree.replace(textFile('etc/apt/sources.list.d/debian.sources', options.sources));
  const excludes = options.excludes.map((pattern) =>
    pattern.startsWith('!') ? `path-include=/${pattern.slice(1)}` : `path-exclude=/${pattern}`,
  );
  tree.replace(textFile('etc/dpkg/dpkg.cfg.d/brickyard', `${excludes.join('\n')}\n`));
  await addDpkgDatabase(tree, packages);
}

/** What base-files, libc-bin, tzdata and debianutils make when they are installed. */
async function addBaseFiles(tree: FileTree): Promise<void> {
  const copies: readonly (readonly [from: string, to: string])[] = [
    ['usr/share/base-files/profile', 'etc/profile'],
    ['usr/share/base-files/motd', 'etc/motd'],
    ['usr/share/base-files/dot.profile', 'root/.profile'],
    ['usr/share/base-files/dot.bashrc', 'root/.bashrc'],
    ['usr/share/libc-bin/nsswitch.conf', 'etc/nsswitch.conf'],
  ];
  for (const [from, to] of copies) tree.replace(textFile(to, await tree.read(from)));
  const local = ['bin', 'etc', 'games', 'include', 'lib', 'sbin', 'share', 'share/man', 'src'];
  const directories = ['mnt', 'srv', 'opt', 'media', 'etc/opt', 'var/opt', 'usr/local'];
  for (const path of [...directories, ...local.map((name) => `usr/local/${name}`)]) tree.add(directory(path));
  tree.replace(directory('run/lock', 0o1777));
  tree.replace(directory('var/mail', 0o2775, 8));
  for (const path of ['var/run', 'var/lock']) tree.remove(path);
  const links: readonly (readonly [path: string, target: string])[] = [
    ['var/run', '/run'],
    ['var/lock', '/run/lock'],
    ['var/spool/mail', '../mail'],
    ['usr/local/man', 'share/man'],
    ['etc/dpkg/origins/default', 'debian'],
    ['etc/localtime', '/usr/share/zoneinfo/Etc/UTC'],
  ];
  for (const [path, target] of links) tree.replace(symlink(path, target));
  tree.replace(textFile('etc/timezone', 'Etc/UTC\n'));
  tree.replace(textFile('etc/shells', `# /etc/shells: valid login shells\n${shells(tree).join('\n')}\n`));
}

/** The shells that packages announce; each is there under both names of a merged /usr. */
function shells(tree: FileTree): string[] {
  return ['sh', 'bash', 'rbash', 'dash']
    .filter((name) => tree.get(`usr/bin/${name}`) !== undefined)
    .flatMap((name) => [`/bin/${name}`, `/usr/bin/${name}`]);
}

interface Alternative {
  readonly name: string;
  readonly link: string;
  readonly path: string;
  readonly priority: number;
  readonly slaves: readonly { readonly name: string; readonly link: string; readonly path: string }[];
}

/** The registrations of mawk, debianutils and util-linux that something relies on. */
const alternatives: readonly Alternative[] = [
  {
    name: 'awk',
    link: '/usr/bin/awk',
    path: '/usr/bin/mawk',
    priority: 5,
    slaves: [{ name: 'nawk', link: '/usr/bin/nawk', path: '/usr/bin/mawk' }],
  },
  { name: 'pager', link: '/usr/bin/pager', path: '/bin/more', priority: 50, slaves: [] },
  { name: 'which', link: '/usr/bin/which', path: '/usr/bin/which.debianutils', priority: 0, slaves: [] },
];

/** The links and the state files of update-alternatives(1). */
function addAlternatives(tree: FileTree): void {
  tree.add(directory('etc/alternatives'));
  for (const alternative of alternatives) {
    for (const { name, link, path } of [alternative, ...alternative.slaves]) {
      tree.replace(symlink(link.slice(1), `/etc/alternatives/${name}`));
      tree.replace(symlink(`etc/alternatives/${name}`, path));
    }
    const { name, link, path, priority, slaves } = alternative;
    const state = [
      'auto',
      link,
      ...slaves.flatMap((slave) => [slave.name, slave.link]),
      '',
      path,
      String(priority),
      ...slaves.map((slave) => slave.path),
      '',
      '',
    ];
    tree.replace(textFile(`var/lib/dpkg/alternatives/${name}`, state.join('\n')));
  }
}
