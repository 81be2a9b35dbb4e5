/** First comment of everything that `brickyard hook install` writes: by it a hook is known as ours. */
export const hookMarker = '# brickyard hook 1';

/** Text as one word of a POSIX shell. */
export function shellWord(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Subversion starts hooks without any variable, and git with whatever its own caller had. */
export const shellStart = `LC_ALL=C; export LC_ALL
PATH="\${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin"; export PATH
umask 077
`;
