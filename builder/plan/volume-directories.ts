/** Where the directories above are root's with mode 0755 on every Debian: a layer names them again. */
const places = new RegExp(
  `^/(?:${[
    '(?:home|media|mnt|opt|srv)/.+',
    'var/(?:cache|lib|log|opt|www)/[^/]+',
    '(?!(?:home|media|mnt|opt|root|run|srv|tmp|var)(?:/|$)).+',
  ].join('|')})$`,
);
/** With owners and modes that others count on. */
const ofTheSystem = /^\/var\/(?:cache|lib|log)\/(?:apt|debconf|dpkg|ldconfig|misc|pam|systemd)$/;

/**
 * Which volumes get an empty directory of the app's: an engine gives a fresh volume the owner of what lies under its mount point, and makes
 * one of root's where there is nothing, in which the app could not write. Directories of the system stay as they are.
 */
export function volumeDirectories(volumes: readonly string[]): readonly string[] {
  return volumes.filter((path) => places.test(path) && !ofTheSystem.test(path)).toSorted();
}
