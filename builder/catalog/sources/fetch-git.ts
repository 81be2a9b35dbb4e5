import { lookup } from 'node:dns/promises';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../../core/user-error.ts';
import { isPublicAddress } from '../../../oci/client/outbound.ts';
import { runProgram, useProgram } from '../run-program.ts';

/**
 * A revision's files as a tar archive, given to `use`. Nothing is checked out, so no filter or hook of the repository runs; submodules
 * are left alone. git is the machine's own, with its credentials and proxies. `trusted`: the address may lie in a private network and be
 * plain HTTP. Errors: UserError when git fails or the address may not be asked.
 */
export async function useGitArchive<T>(
  source: {
    readonly url: string;
    /** Full id of a commit, or the name of a branch or tag that does not begin with a dash. */
    readonly revision: string;
  },
  options: { readonly folder: string; readonly trusted: boolean; readonly signal: AbortSignal },
  use: (archive: AsyncIterable<Buffer>) => Promise<T>,
): Promise<T> {
  const { folder, trusted, signal } = options;
  const url = new URL(source.url);
  if (!trusted && url.protocol !== 'https:') throw new UserError(`${source.url} is not HTTPS`);
  if (!trusted) await checkPublic(url);
  const repository = join(folder, 'repository');
  const protocol = url.protocol.slice(0, -1);
  const settings = [
    'core.hooksPath=/dev/null',
    'core.fsmonitor=false',
    'gc.auto=0',
    'http.followRedirects=false',
    'protocol.allow=never',
    `protocol.${protocol}.allow=always`,
    'transfer.fsckObjects=true',
  ].flatMap((setting) => ['-c', setting]);
  const run = { signal, env: { GIT_TERMINAL_PROMPT: '0', GIT_LFS_SKIP_SMUDGE: '1', LC_ALL: 'C' } };
  await runProgram('git', ['init', '--quiet', '--bare', '--template=', repository], run);
  // The highest place for attributes: without it a commit could have its own files left out or filled in.
  await mkdir(join(repository, 'info'), { recursive: true });
  await writeFile(join(repository, 'info/attributes'), '* -export-ignore -export-subst -text -filter\n');
  const inside = { ...run, cwd: repository };
  const fetch = ['fetch', '--quiet', '--depth=1', '--no-tags', '--no-recurse-submodules', '--'];
  await runProgram('git', [...settings, ...fetch, source.url, source.revision], inside);
  return useProgram('git', [...settings, 'archive', '--format=tar', 'FETCH_HEAD'], inside, use);
}

/** git asks the name's server again: this keeps honest mistakes away, and whoever controls that server gains only a GET. */
async function checkPublic(url: URL): Promise<void> {
  const addresses = await lookup(url.hostname.replace(/^\[|\]$/g, ''), { all: true }).catch(
    (cause: Error) => {
      throw new UserError(`${url.host}: ${cause.message}`, { cause });
    },
  );
  if (!addresses.every(({ address }) => isPublicAddress(address))) {
    throw new UserError(`${url.host} is an address of a private network; only mirrors may lie there`);
  }
}
