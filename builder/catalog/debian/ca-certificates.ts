import { directory, type FileTree, textFile } from '../file-tree.ts';

const source = 'usr/share/ca-certificates';

/**
 * What `update-ca-certificates` makes: one file with all of Mozilla's certificates. OpenSSL, GnuTLS, curl, Python and Ruby find it by Debian's
 * paths (`/usr/lib/ssl/cert.pem` points to it); the links named by subject hash appear when somebody runs update-ca-certificates.
 */
export async function addCaBundle(tree: FileTree): Promise<void> {
  const certificates = tree
    .below(source)
    .map(({ path }) => path)
    .filter((path) => path.endsWith('.crt'))
    .sort((a, b) => (a < b ? -1 : 1));
  const texts: string[] = [];
  for (const path of certificates) texts.push(`${(await tree.read(path)).toString().trimEnd()}\n`);
  const names = certificates.map((path) => path.slice(source.length + 1));
  tree.add(directory('etc/ssl/certs'));
  tree.replace(textFile('etc/ssl/certs/ca-certificates.crt', texts.join('')));
  tree.replace(textFile('etc/ca-certificates.conf', Buffer.from(`${names.join('\n')}\n`, 'latin1')));
}
