import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import {
  type AccessRule,
  createAuthorizer,
  isAction,
  patternsOf,
  rulesWithoutRules,
} from '../../core/auth/access-rules.ts';
import { actions, anonymous, type Principal } from '../../core/auth/authorizer.ts';
import { parseHtpasswd } from '../../core/auth/htpasswd.ts';
import { UserError } from '../../core/user-error.ts';
import { isRepositoryName } from '../../oci/reference.ts';
import { type Config, readConfig } from '../config.ts';
import type { CliContext } from '../context.ts';

interface CanIOptions {
  readonly as?: string;
  readonly config?: string;
  readonly json?: boolean;
}

interface Answer {
  readonly allowed: boolean;
  readonly reason: string;
}

/** `can-i ACTION REPOSITORY`: asks the configured rules, by the code that decides for the server. */
export function registerCanI(program: Command, context: CliContext): void {
  program
    .command('can-i <action> <repository>')
    .description(`may somebody ${actions.join(', ')} here, and which rule says so ("*" = the whole server)`)
    .option('--as <user>', 'the account in question (default: somebody who has not signed in)')
    .option('--config <file>', 'configuration file (default: brickyard.yaml)')
    .option('--json', 'as JSON')
    .action((action: string, repository: string, options: CanIOptions) => {
      const config = readConfig({
        env: context.env,
        cwd: context.cwd,
        ...(options.config === undefined ? {} : { file: options.config }),
      });
      const answer = decide(config, action, repository, options.as);
      if (options.json === true) {
        const user = options.as ?? anonymous.name;
        context.stdout(`${JSON.stringify({ ...answer, action, repository, user })}\n`);
      } else if (answer.allowed) {
        context.stdout(`yes: ${answer.reason}\n`);
      }
      // Exit code 1, so that scripts can ask.
      if (!answer.allowed) throw new UserError(`no: ${answer.reason}`);
    });
}

function decide(config: Config, action: string, repository: string, user: string | undefined): Answer {
  if (!isAction(action)) {
    throw new UserError(`"${action}" is no action; there are ${actions.join(', ')}`, { exitCode: 2 });
  }
  if (repository !== '*' && !isRepositoryName(repository)) {
    throw new UserError(`"${repository}" is no repository name`, { exitCode: 2 });
  }
  if (config.auth.htpasswd === undefined) {
    return { allowed: true, reason: 'no accounts are configured, everybody may do everything (open mode)' };
  }
  const principal = principalOf(config.auth.htpasswd, user);
  if (principal === undefined) return { allowed: false, reason: `there is no account "${user}"` };
  const written = config.auth.rules.length > 0;
  const rules: readonly AccessRule[] = written ? config.auth.rules : rulesWithoutRules;
  const { allowed, rule } = createAuthorizer(rules).explain(principal, action, repository);
  if (!written) {
    return {
      allowed,
      reason: 'there are no rules: an account may do everything, anybody else nothing',
    };
  }
  const decisive = rule === undefined ? undefined : rules[rule];
  if (decisive === undefined)
    return { allowed: false, reason: `none of the ${rules.length} rules allows it` };
  return {
    allowed,
    reason: `auth.rules[${rule}]: ${decisive.users.join(', ')} may ${decisive.actions.join(', ')} in ${patternsOf(decisive).join(', ')}`,
  };
}

function principalOf(htpasswd: string, user: string | undefined): Principal | undefined {
  if (user === undefined || user === anonymous.name) return anonymous;
  let text: string;
  try {
    text = readFileSync(htpasswd, 'utf8');
  } catch (cause) {
    throw new UserError(`cannot read the accounts in ${htpasswd}: ${(cause as Error).message}`, { cause });
  }
  return parseHtpasswd(text).users.has(user) ? { name: user, anonymous: false } : undefined;
}
