import { shellQuote } from '../../builder/plan/role-file.ts';

/**
 * The roles of an image in lines for people, from its label `org.brickyard.roles`. Anybody may have written that: what is not understood is shown as JSON.
 */
export function describeRoles(roles: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.entries(roles).flatMap(([name, role]) => {
    if (!isMap(role)) return [`role         ${name}: ${JSON.stringify(role)}`];
    const { command, healthcheck, hooks, resources, ...rest } = role;
    const lines = [`role         ${name}${isTexts(command) ? `: ${command.map(word).join(' ')}` : ''}`];
    const add = (key: string, value: unknown): void => {
      if (value === undefined) return;
      const text = isTexts(value)
        ? value.join(' ')
        : typeof value === 'string'
          ? value
          : JSON.stringify(value);
      lines.push(`  ${key.padEnd(11)}${text}`);
    };
    if (command !== undefined && !isTexts(command)) add('command', command);
    for (const key of ['dir', 'user', 'ports']) add(key, rest[key]);
    add('health', describeHealth(healthcheck));
    for (const [key, commands] of Object.entries(isMap(hooks) ? hooks : { hooks })) {
      const title = { afterStart: 'after start', beforeStop: 'before stop' }[key] ?? key;
      add(`${title} `, isTexts(commands) ? commands.join('; ') : commands);
    }
    add('env', rest['env']);
    if (isMap(resources)) add('resources', describeResources(resources));
    else add('resources', resources);
    for (const [key, value] of Object.entries(rest)) {
      if (!['dir', 'user', 'ports', 'env'].includes(key)) add(key === 'stopSignal' ? 'stop' : key, value);
    }
    return lines;
  });
}

function describeHealth(healthcheck: unknown): unknown {
  if (!isMap(healthcheck)) return healthcheck;
  const { url, port, code, tcpPorts } = healthcheck;
  const parts = [
    ...(typeof url === 'string' ? [`HTTP :${String(port)}${url} gives ${String(code)}`] : []),
    ...(Array.isArray(tcpPorts) ? [`TCP ${tcpPorts.map(String).join(' ')}`] : []),
  ];
  return parts.length === 0 ? healthcheck : parts.join(', ');
}

function describeResources({ cpu, memoryBytes }: Readonly<Record<string, unknown>>): string {
  return [
    ...(typeof cpu === 'number' ? [`${cpu} CPU`] : []),
    ...(typeof memoryBytes === 'number' ? [`${Math.round(memoryBytes / 1024 ** 2)} MiB of memory`] : []),
  ].join(', ');
}

function word(text: string): string {
  return /^[A-Za-z0-9_@%+=:,./*-]+$/.test(text) ? text : shellQuote(text);
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
