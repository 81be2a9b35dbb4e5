import type { Command } from 'commander';
import type { PlanView } from '../../builder/http/base-image-views.ts';
import type { CliContext } from '../context.ts';
import { openServerApi } from '../server-api.ts';
import { formatTable, withoutControls } from '../text.ts';
import { parseBaseArgument } from './base-name.ts';

type ChannelPlan = PlanView['channels'][number];

/** `base plan NAME` */
export function registerBasePlan(base: Command, context: CliContext): void {
  base
    .command('plan <name>')
    .description('show which images a change of a base image touches, and how; changes nothing')
    .option('--server <url>', 'server to talk to (default: BRICKYARD_SERVER or this machine)')
    .option('--json', 'print JSON')
    .action(async (argument: string, flags: { server?: string; json?: boolean }) => {
      const { name, channel } = parseBaseArgument(argument);
      const api = await openServerApi(context, flags.server);
      const query = channel === undefined ? '' : `?channel=${encodeURIComponent(channel)}`;
      const plan = await api.call<PlanView>('GET', `/api/v1/base-images/${name}/plan${query}`);
      context.stdout(
        flags.json === true ? `${JSON.stringify(plan, undefined, 2)}\n` : describePlan(argument, plan),
      );
    });
}

/** What each action means for an image that is behind, and for one that is up to date. */
const words: Readonly<Record<string, readonly [behind: string, current: string]>> = {
  rebase: ['rebase', 'up to date'],
  rebuild: ['build again', 'up to date; a change means to build it again'],
  refuse: ['cannot follow', 'up to date; it cannot follow a change'],
  exclude: ['excluded', 'up to date; excluded'],
};

function describePlan(name: string, { channels }: PlanView): string {
  // Several channels may name one image, and apps stand on one of them.
  const used = channels.filter(({ images, hidden }) => images.length + hidden > 0);
  if (used.length === 0) return `no image that was built here stands on ${name}\n`;
  return used.map(describeChannel).join('\n');
}

function describeChannel(plan: ChannelPlan): string {
  const { repository, channel, digest, parent, derived, images, hidden } = plan;
  const on = derived && parent !== undefined ? `  on ${parent}: made again by "brickyard base build"` : '';
  const lines = [`${repository}:${channel}  ${digest}${on}`, `  ${summary(plan)}`];
  if (plan.deprecation !== undefined) lines.push(`  deprecated: ${withoutControls(plan.deprecation)}`);
  if (hidden > 0) lines.push(`  ${hidden} of them you may not pull, so they are not shown`);
  const rows = images.map((image) => {
    const [behind, current] = words[image.action] ?? [image.action, image.action];
    const reason = image.reason === undefined ? '' : `: ${withoutControls(image.reason)}`;
    return ['', image.repository, image.tags.join(', '), `${image.current ? current : behind}${reason}`];
  });
  return `${lines.join('\n')}\n${formatTable(rows)}`;
}

function summary({ images, hidden, estimatedSeconds }: ChannelPlan): string {
  const total = images.length + hidden;
  const apps = new Set(images.map(({ repository }) => repository));
  const teams = new Set([...apps].map((repository) => repository.split('/', 1)[0]));
  const behind = images.filter(({ current }) => !current).length;
  const what = behind === 0 ? 'all up to date; a change would take' : `${behind} behind; that takes`;
  const seconds = Math.max(1, Math.round(estimatedSeconds));
  return `${count(total, 'image')} of ${count(apps.size, 'app')} in ${count(teams.size, 'team')}, ${what} about ${seconds} s`;
}

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}
