import type { Command } from 'commander';
import { UserError } from '../../core/user-error.ts';
import { ask, askPassword } from '../ask.ts';
import type { CliContext } from '../context.ts';
import { basicAuthorization, type StoredCredential, serverUrl, storeCredential } from '../credentials.ts';
import { isLoopback } from '../listen-address.ts';

interface LoginOptions {
  readonly user?: string;
  readonly passwordStdin?: boolean;
}

/** `login [URL]`: remembers a credential for the commands that talk to a server, once the server has accepted it. */
export function registerLogin(program: Command, context: CliContext): void {
  program
    .command('login [url]')
    .description('remember a server and a credential')
    .option('-u, --user <name>', 'account name')
    .option('--password-stdin', 'read the password from standard input')
    .action((url: string | undefined, options: LoginOptions) => login(context, url, options));
}

async function login(context: CliContext, url: string | undefined, options: LoginOptions): Promise<void> {
  const server = serverUrl(context, url);
  const { protocol, hostname } = new URL(server);
  if (protocol === 'http:' && !isLoopback(hostname.replace(/^\[|\]$/g, '')) && hostname !== 'localhost') {
    context.stderr(`warning: ${server} is not encrypted; the password can be read on its way\n`);
  }
  if ((await answers(server)) === 200) {
    context.stderr(`${server} is open: nobody has to sign in there\n`);
    return;
  }
  const user = options.user ?? (await ask(context, 'Account'));
  const password = await askPassword(
    context,
    options.passwordStdin === undefined ? {} : { passwordStdin: options.passwordStdin },
  );
  const credential: StoredCredential = { user, password };
  const status = await answers(server, credential);
  if (status === 401) throw new UserError(`${server} does not accept this name and password`);
  if (status === 429) throw new UserError(`${server} saw too many failed attempts; try again in a minute`);
  if (status !== 200) throw new UserError(`${server} answered ${status}: is it a Brickyard?`);
  const file = await storeCredential(context, server, credential);
  context.stderr(`signed in at ${server} as ${user} (kept in ${file})\n`);
}

/** Status of the registry's ping (distribution-spec end-1), which every server answers. */
async function answers(server: string, credential?: StoredCredential): Promise<number> {
  try {
    const response = await fetch(`${server}/v2/`, {
      // A credential is for this server alone.
      redirect: 'error',
      signal: AbortSignal.timeout(30_000),
      ...(credential === undefined ? {} : { headers: { authorization: basicAuthorization(credential) } }),
    });
    await response.body?.cancel();
    return response.status;
  } catch (cause) {
    const reason = (cause as { cause?: Error }).cause?.message ?? (cause as Error).message;
    throw new UserError(`cannot reach ${server}: ${reason}`, { cause });
  }
}
