import { readFileSync } from 'node:fs';
import { defaultStatusApi } from '../../builder/triggers/commit-status.ts';
import { parseRemoteUrl } from '../../builder/triggers/remote-url.ts';
import type { Trigger } from '../../builder/triggers/trigger.ts';
import { UserError } from '../../core/user-error.ts';
import type { Config } from '../config.ts';
import type { TriggerConfig } from '../trigger-config.ts';

/** A shorter one could be guessed from one recorded webhook. */
const shortestSecret = 16;

/** The configured triggers with what their files hold. Errors: UserError for a file that cannot be read, or holds no fit secret. */
export function openTriggers(config: Pick<Config, 'builder'>): readonly Trigger[] {
  return (config.builder.triggers as readonly TriggerConfig[]).map(openTrigger);
}

function openTrigger(trigger: TriggerConfig): Trigger {
  const { provider, keyFile, knownHostsFile, tokenFile, caFile, status } = trigger;
  const [team = '', app = ''] = trigger.app.split('/');
  // As it was checked, in one spelling.
  const url = parseRemoteUrl(trigger.url, { insecureHttp: trigger.insecureHttp === true });
  if ('fault' in url) throw new UserError(`the address of the trigger of ${trigger.app} ${url.fault}`);
  const api = status === undefined ? undefined : (status.api ?? defaultStatusApi(provider, url.href));
  return {
    team,
    app,
    provider,
    remote: {
      url: url.href,
      privateNetwork: trigger.privateNetwork === true,
      ...(tokenFile === undefined
        ? {}
        : { login: { username: trigger.username ?? 'git', token: readLine(trigger, tokenFile) } }),
      ...(keyFile === undefined || knownHostsFile === undefined ? {} : { ssh: { keyFile, knownHostsFile } }),
      ...(caFile === undefined ? {} : { caFile }),
    },
    secrets: trigger.secretFiles.map((file) => readSecret(trigger, file)),
    branches: trigger.branches ?? ['**'],
    tags: trigger.tags ?? ['**'],
    forks: trigger.forks ?? 'never',
    ...(status === undefined || api === undefined
      ? {}
      : {
          status: {
            api: api.replace(/\/+$/, ''),
            token: readLine(trigger, status.tokenFile),
            context: status.context ?? 'brickyard',
            ...(caFile === undefined ? {} : { ca: read(trigger, caFile) }),
          },
        }),
  };
}

function readSecret(trigger: TriggerConfig, file: string): string {
  const secret = readLine(trigger, file);
  if (secret.length >= shortestSecret) return secret;
  throw new UserError(
    `the secret of the trigger of ${trigger.app} in ${file} has fewer than ${shortestSecret} characters: write a longer one (openssl rand -hex 32)`,
    { exitCode: 2 },
  );
}

function readLine(trigger: TriggerConfig, file: string): string {
  const text = read(trigger, file).replace(/\r?\n$/, '');
  if (text !== '' && !/\p{Cc}/u.test(text)) return text;
  throw new UserError(`the file ${file} of the trigger of ${trigger.app} must hold one line of text`, {
    exitCode: 2,
  });
}

function read(trigger: TriggerConfig, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new UserError(`the trigger of ${trigger.app} cannot read ${file}: ${(cause as Error).message}`, {
      exitCode: 2,
      cause,
    });
  }
}
