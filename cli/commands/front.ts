import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { checkNginx } from '../../cache-proxy/nginx/check-nginx.ts';
import { frontConfig } from '../../cache-proxy/nginx/front-config.ts';
import { renderNginx } from '../../cache-proxy/nginx/render.ts';
import { UserError } from '../../core/user-error.ts';
import { readConfig } from '../config.ts';
import type { CliContext } from '../context.ts';
import { frontHints, frontOfConfig } from '../front-of-config.ts';

interface RenderOptions {
  readonly check?: boolean;
  readonly config?: string;
  readonly output?: string;
}

/** `front render`: the configuration of an nginx in front of the registry, from `front:` in brickyard.yaml. */
export function registerFront(program: Command, context: CliContext): void {
  program
    .command('front')
    .description('nginx in front of the registry: TLS, any number of replicas, and blobs without a detour')
    .command('render')
    .description(
      'print its configuration, from the keys below front: (each also a BRICKYARD_FRONT_ variable)',
    )
    .option('--check', 'ask nginx -t whether it would start with it, and fail when it would not')
    .option('-o, --output <file>', 'write it there instead, once it was checked')
    .option('--config <file>', 'configuration file (default: brickyard.yaml, where there is one)')
    .action((options: RenderOptions) => render(context, options));
}

async function render(context: CliContext, options: RenderOptions): Promise<void> {
  const config = readConfig({
    env: context.env,
    cwd: context.cwd,
    ...(options.config === undefined ? {} : { file: options.config }),
  });
  const model = frontOfConfig(config, context.env);
  const text = renderNginx(frontConfig(model), [
    'Made by `brickyard front render`: change brickyard.yaml and run that again, not this file.',
    `Start: nginx -c FILE -p ${model.folder}   Check: nginx -t -c FILE   Change while it runs: nginx -s reload -c FILE`,
  ]);
  for (const hint of frontHints(config, model)) context.stderr(`note: ${hint}\n`);
  if (options.check === true) await check(context, text);
  if (options.output === undefined) context.stdout(text);
  else writeFileSync(resolve(context.cwd, options.output), text);
}

/** Errors: UserError when nginx refuses it, or is not there to be asked. */
async function check(context: CliContext, text: string): Promise<void> {
  const verdict = await checkNginx(text);
  if (verdict.kind === 'absent') {
    throw new UserError('there is no nginx here that could check it; on Debian: apt-get install nginx');
  }
  if (verdict.kind === 'refused') throw new UserError(`nginx would not start with this:\n${verdict.reason}`);
  context.stderr('nginx -t: good\n');
}
