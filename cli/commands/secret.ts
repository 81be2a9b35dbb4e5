import type { Command } from 'commander';
import type { SecretView } from '../../builder/http/secret-routes.ts';
import { isSecretName, maxSecretBytes, refuseOwner } from '../../builder/secrets/secret-names.ts';
import { UserError } from '../../core/user-error.ts';
import { ask, isTerminal } from '../ask.ts';
import type { CliContext } from '../context.ts';
import { openServerApi } from '../server-api.ts';
import { formatTable, toJson, withoutControls } from '../text.ts';

interface SecretFlags {
  readonly server?: string;
  readonly json?: boolean;
}

/** `secret set|ls|rm`: values that the commands of App.yaml need and nobody may read. */
export function registerSecret(program: Command, context: CliContext): void {
  const secret = program
    .command('secret')
    .description('values for the commands of builds, as files that never enter an image');
  const server = ['--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)'] as const;
  const json = ['--json', 'print JSON'] as const;

  secret
    .command('set <team/app> <name>')
    .description('set one; the value is read from standard input, or asked for')
    .option(...server)
    .option(...json)
    .action(async (app: string, name: string, flags: SecretFlags) => {
      const path = pathOf(app, name);
      const api = await openServerApi(context, flags.server);
      const value = (await readValue(context)).toString('base64');
      const set = await api.call<SecretView>('PUT', path, { value });
      if (flags.json === true) context.stdout(toJson(set));
      else context.stderr(`${app} has the secret ${name}: name it under build.secrets in App.yaml\n`);
    });

  secret
    .command('ls <team/app>')
    .description('list their names')
    .option(...server)
    .option(...json)
    .action(async (app: string, flags: SecretFlags) => {
      const path = pathOf(app);
      const api = await openServerApi(context, flags.server);
      const { secrets } = await api.call<{ secrets: SecretView[] }>('GET', path);
      context.stdout(flags.json === true ? toJson(secrets) : toTable(secrets));
    });

  secret
    .command('rm <team/app> <name>')
    .description('remove one')
    .option(...server)
    .option(...json)
    .action(async (app: string, name: string, flags: SecretFlags) => {
      const path = pathOf(app, name);
      const api = await openServerApi(context, flags.server);
      const removed = await api.call<object>('DELETE', path);
      if (flags.json === true) context.stdout(toJson(removed));
      else context.stderr(`removed ${name}\n`);
    });
}

function pathOf(owner: string, name?: string): string {
  const [team = '', app = '', ...rest] = owner.split('/');
  const unfit = rest.length > 0 || app === '' ? 'expected TEAM/APP' : refuseOwner(team, app);
  if (unfit !== undefined) throw new UserError(`"${owner}" is no git repository: ${unfit}`, { exitCode: 2 });
  if (name === undefined) return `/api/v1/secrets/${owner}`;
  if (isSecretName(name)) return `/api/v1/secrets/${owner}/${name}`;
  throw new UserError(
    `"${name}" is no name of a secret: 1 to 63 letters, digits, ".", "_" and "-", the first a letter or digit`,
    { exitCode: 2 },
  );
}

/** Never an argument: those stand in the shell's history and in the list of processes. */
async function readValue(context: CliContext): Promise<Buffer> {
  if (isTerminal(context)) {
    const typed = await ask(context, 'Value', { hidden: true });
    if (typed === '') throw new UserError('the value must not be empty', { exitCode: 2 });
    return Buffer.from(typed);
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of context.stdin ?? []) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > maxSecretBytes + 2) {
      throw new UserError(`standard input holds more than the ${maxSecretBytes} bytes of a secret`, {
        exitCode: 2,
      });
    }
    chunks.push(bytes);
  }
  const value = Buffer.concat(chunks);
  if (value.length === 0) throw new UserError('standard input holds no value', { exitCode: 2 });
  return withoutLineEnd(value);
}

/** `echo` adds one to a token; the keys of ssh and of TLS, which have several lines, need theirs. */
function withoutLineEnd(value: Buffer): Buffer {
  const first = value.indexOf(0x0a);
  if (first !== value.length - 1) return value;
  return value.subarray(0, value[first - 1] === 0x0d ? first - 1 : first);
}

function toTable(secrets: readonly SecretView[]): string {
  return formatTable(
    secrets.map(({ name, setAt, setBy, key }) => [
      name,
      setAt.slice(0, 19).replace('T', ' '),
      withoutControls(setBy),
      key === 'current' ? '' : `${key} key`,
    ]),
  );
}
