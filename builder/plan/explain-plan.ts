import { imageContent } from './image-content.ts';
import type { BuildPlan, Role } from './plan.ts';
import { buildKey, planKey } from './plan-key.ts';
import { shellQuote } from './role-file.ts';

/** The plan in words, for the terminal and the log of a push. Each line is one fact; control characters cannot occur. */
export function explainPlan(plan: BuildPlan, options: { sourceKey?: string } = {}): string {
  const rows: [string, string][] = [
    ['image', plan.repository],
    ['base', `${plan.base.name} (${plan.base.repository}@${short(plan.base.digest)})`],
  ];
  const { build } = plan;
  if (build !== undefined) {
    rows.push([
      'build in',
      `${build.base.name}, network ${build.network}, at most ${build.timeoutSeconds} s`,
    ]);
    for (const command of build.commands) rows.push(['  run', oneLine(command)]);
    if (build.cache === false) rows.push(['  cache', 'none']);
    else for (const path of build.cache ?? []) rows.push(['  cache', path]);
    for (const name of build.secrets ?? []) rows.push(['  secret', `/run/secrets/${name}`]);
    for (const [from, to] of Object.entries(build.outputs)) rows.push(['  take', `${from} → ${to}`]);
    if (Object.keys(build.outputs).length === 0)
      rows.push(['  take', `the whole workspace → ${plan.directory}`]);
  }
  const { test } = plan;
  if (test !== undefined) {
    const { base, network, timeoutSeconds } = test;
    rows.push(['test in', `${base.name}, network ${network}, at most ${timeoutSeconds} s`]);
    for (const command of test.commands) rows.push(['  run', oneLine(command)]);
    for (const name of test.secrets ?? []) rows.push(['  secret', `/run/secrets/${name}`]);
    for (const pattern of test.artifacts) rows.push(['  keep', pattern]);
  }
  if (plan.source.include.length > 0) {
    const without = plan.source.exclude.length === 0 ? '' : ` without ${plan.source.exclude.join(' ')}`;
    rows.push(['source', `${plan.source.include.join(' ')}${without} → ${plan.directory}`]);
  }
  for (const [index, role] of plan.roles.entries())
    rows.push([index === 0 ? 'role*' : 'role', describeRole(role)]);
  if (plan.staticScript !== undefined) rows.push(['static', plan.staticScript]);
  if (plan.runtimeScript !== undefined) rows.push(['runtime', plan.runtimeScript]);
  const names = Object.keys(imageContent(plan).config.environment);
  rows.push(['env', names.join(' ')]);
  if (plan.volumes.length > 0) rows.push(['volumes', plan.volumes.join(' ')]);
  if (plan.stopSignal !== undefined) rows.push(['stop', plan.stopSignal]);
  if (plan.rebase !== undefined) rows.push(['rebase', plan.rebase]);
  rows.push(['plan key', planKey(plan)]);
  if (options.sourceKey !== undefined) {
    rows.push(['source key', options.sourceKey], ['build key', buildKey(plan, options.sourceKey)]);
  }
  return rows.map(([name, value]) => `${name.padEnd(10)} ${value}\n`).join('');
}

function describeRole(role: Role): string {
  const ports = role.ports.map((port) => `${port.port}/${port.scheme ?? port.protocol}`).join(' ');
  const words = role.command.map((word) =>
    /^[A-Za-z0-9_@%+=:,./*-]+$/.test(word) ? word : shellQuote(word),
  );
  const user = role.user === 'root' ? ' as root' : '';
  return `${role.name}: ${oneLine(words.join(' '))}${ports === '' ? '' : ` [${ports}]`}${user}`;
}

function oneLine(text: string): string {
  const line = text
    .trim()
    .replace(/\s*\n\s*/g, ' ⏎ ')
    .replace(/\p{Cc}/gu, '\uFFFD');
  return line.length > 300 ? `${line.slice(0, 300)}…` : line;
}

function short(digest: string): string {
  return digest.slice(0, digest.indexOf(':') + 13);
}
