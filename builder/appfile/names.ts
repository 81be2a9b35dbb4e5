/**
 * Names that no application may have: they are users of every Debian base image, would be mistaken for our own or Docker Hub's
 * repositories, or cannot be a file on the machines of some developers.
 */
const users =
  'root daemon bin sys sync games man lp mail news uucp proxy backup list irc gnats nobody sshd www-data messagebus systemd-network systemd-resolve';
const repositories = 'library baseimages base scratch brickyard appimg';
const devices = 'con prn aux nul';

export function isReservedAppName(name: string): boolean {
  return `${users} ${repositories} ${devices}`.split(' ').includes(name) || /^(?:com|lpt)[0-9]$/.test(name);
}

/** File names under which App.yaml is found, best first. */
export const appFileNames: readonly string[] = ['App.yaml', 'app.yaml', 'App.yml', 'app.yml'];
