import { FetchRefused } from './fetch-target.ts';
import type { GitRun } from './run-git.ts';

/** What a repository elsewhere says of itself. */
export interface RemoteRefs {
  /** Of those that were asked for. */
  readonly refs: ReadonlyMap<string, string>;
  /** Where its HEAD points, where it says so. */
  readonly head?: string;
}

/** Errors: FetchRefused; Error where it may heal. */
export async function readRemoteRefs(
  git: (args: readonly string[]) => Promise<GitRun>,
  url: string,
  names: readonly string[],
): Promise<RemoteRefs> {
  const { code, stdout, stderr } = await git([
    'ls-remote',
    '--quiet',
    '--symref',
    '--',
    url,
    'HEAD',
    ...names,
  ]);
  if (code !== 0) throw remoteFault('asked', code, stderr);
  const wanted = new Set(names);
  const refs = new Map<string, string>();
  let head: string | undefined;
  for (const line of stdout.split('\n')) {
    const symbolic = /^ref: (refs\/heads\/\S+)\tHEAD$/.exec(line)?.[1];
    if (symbolic !== undefined) head = symbolic;
    // A name matches longer ones that end in it too.
    const [, id = '', name = ''] = /^([0-9a-f]{40,64})\t(\S+)$/.exec(line) ?? [];
    if (wanted.has(name)) refs.set(name, id);
  }
  return { refs, ...(head === undefined ? {} : { head }) };
}

/** What git says where asking again will not help, and what to do about it. */
const hopeless: readonly (readonly [RegExp, string])[] = [
  [/ssh: (?:command )?not found|cannot run ssh/i, 'there is no ssh on this machine: install an ssh client'],
  [
    /returned error: (?:401|403)|Authentication failed|could not read (?:Username|Password)/i,
    'it was not let in: check the token',
  ],
  [
    /returned error: 404|repository .*not found|does not appear to be a git repository/i,
    'there is no such repository, or the token may not see it',
  ],
  [
    /unable to update url base from redirection|returned error: 30\d|The requested URL returned error: 3/i,
    'it redirects elsewhere, which is not followed: write the new address',
  ],
  [/Host key verification failed/i, 'its host key is not in knownHostsFile'],
  [/Permission denied \(/i, 'it was not let in: check the key'],
  [/certificate|SSL|gnutls_handshake/i, 'its certificate is not good: check the address and caFile'],
  [/transport '.*' not allowed/i, 'that transport is not allowed'],
  [/fsck error|error: object [0-9a-f]+:/i, 'it holds objects that are not taken'],
  [/mismatched algorithms|unknown object format/i, 'it uses SHA-256 ids, which are not supported here'],
  [/is not our ref|couldn't find remote ref/i, ''],
];

/** A failed git as an error: FetchRefused where somebody has to do something. */
export function remoteFault(what: string, code: number, stderr: string): Error {
  const text = stderr
    .split('\n')
    .slice(-3)
    .join('; ')
    .replace(/\p{Cc}/gu, ' ')
    .slice(0, 500);
  const [, advice] = hopeless.find(([pattern]) => pattern.test(stderr)) ?? [];
  if (advice === undefined || advice === '')
    return new Error(`the repository could not be ${what} (git ${code}): ${text}`);
  return new FetchRefused(`the repository could not be ${what}: ${advice} (${text})`);
}
