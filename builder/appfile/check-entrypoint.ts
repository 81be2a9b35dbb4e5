import { suggest } from '../../core/document/suggest.ts';
import type { AppFile } from './appfile.ts';
import { checkEnvironment, checkSignal, hasDots, type Report } from './check-value.ts';
import { appFileCodes } from './codes.ts';
import { isMap } from './legacy.ts';
import { splitShellWords } from './shell-words.ts';
import { parseMemory, parsePort, portSchemes } from './values.ts';

/** Where a role may be started. Under /proc/self/fd a working directory can lead out of the container (CVE-2024-21626). */
const workingDirectories = ['/opt', '/srv', '/tmp', '/usr', '/var'];

/** The absolute working directory of a role; undefined when it is not under an allowed prefix. */
export function roleDirectory(appname: string, dir: string | undefined): string | undefined {
  const home = `/home/${appname}`;
  if (dir === undefined) return home;
  if (hasDots(dir)) return undefined;
  const path = (dir.startsWith('/') ? dir : `${home}/${dir}`).replace(/\/+$/, '');
  const allowed = [home, ...workingDirectories].some(
    (prefix) => path === prefix || path.startsWith(`${prefix}/`),
  );
  return allowed ? path : undefined;
}

/** One entrypoint; survives values of any type, which the schema reports. */
export function checkEntrypoint(
  file: AppFile,
  name: string,
  entrypoint: Record<string, unknown>,
  report: Report,
): void {
  const path = ['entrypoints', name];
  checkCommand(path, entrypoint, report);
  checkPorts(path, entrypoint, report);
  checkEnvironment([...path, 'env'], entrypoint['env'], report);
  checkSignal([...path, 'stop_signal'], entrypoint['stop_signal'], report);
  const dir = entrypoint['dir'];
  if (typeof dir === 'string' && roleDirectory(file.appname, dir) === undefined) {
    const message = `must be under /home/${file.appname ?? '<appname>'}, ${workingDirectories.join(', ')}, without "." and ".."`;
    report([...path, 'dir'], { code: appFileCodes.path, message });
  }
  const resources = entrypoint['resources'];
  const memory = isMap(resources) ? resources['memory'] : undefined;
  if (typeof memory === 'string' && parseMemory(memory) === undefined) {
    const unit = /^([0-9.]+) ?([kmgt])i?$/i.exec(memory);
    const hint = unit === null ? 'write 512MB' : `write "${unit[1]}${unit[2]?.toUpperCase()}B"`;
    const message = 'must be a size with its unit in bytes';
    report([...path, 'resources', 'memory'], { code: appFileCodes.value, message, hint });
  }
}

function checkCommand(path: readonly string[], entrypoint: Record<string, unknown>, report: Report): void {
  const code = appFileCodes.command;
  const given = ['cmd', 'commands', 'shell'].filter((key) => entrypoint[key] !== undefined);
  if (given.length === 0) {
    report(path, { code, message: 'no command: give one of cmd, commands and shell', at: 'key' });
    return;
  }
  const second = given[1];
  if (second !== undefined) {
    report([...path, second], { code, message: `${given.join(' and ')} exclude one another`, at: 'key' });
  }
  const { cmd, commands } = entrypoint;
  if (typeof cmd === 'string') {
    const split = splitShellWords(cmd);
    if ('error' in split) {
      const hint = split.shell
        ? 'write shell: instead of cmd:, or put it in single quotes if you mean the characters'
        : undefined;
      const message = split.shell ? `needs shell: ${split.error}` : split.error;
      report([...path, 'cmd'], { code, message, ...(hint === undefined ? {} : { hint }) });
    } else checkProgram([...path, 'cmd'], split.words[0], report);
  }
  if (Array.isArray(commands)) checkProgram([...path, 'commands', 0], commands[0], report);
}

function checkProgram(path: readonly (string | number)[], program: unknown, report: Report): void {
  if (typeof program !== 'string') return;
  if (program === '' || program.startsWith('-')) {
    report(path, { code: appFileCodes.command, message: 'the first word must be a program' });
  }
}

function checkPorts(path: readonly string[], entrypoint: Record<string, unknown>, report: Report): void {
  const ports = new Set<number>();
  const seen = new Set<string>();
  const written = Array.isArray(entrypoint['ports']) ? (entrypoint['ports'] as unknown[]) : [];
  for (const [index, item] of written.entries()) {
    if (typeof item !== 'string' && typeof item !== 'number') continue;
    const place = [...path, 'ports', index];
    const port = parsePort(item);
    if (typeof port === 'string') {
      const near = suggest(String(item).split('/')[1] ?? '', portSchemes);
      const hint = near === undefined ? {} : { hint: `did you mean "${near}"?` };
      report(place, { code: appFileCodes.port, message: port, ...hint });
      continue;
    }
    const id = `${port.port}/${port.protocol}`;
    if (seen.has(id)) report(place, { code: appFileCodes.port, message: `the port ${id} stands twice` });
    seen.add(id);
    ports.add(port.port);
  }
  const healthcheck = entrypoint['healthcheck'];
  if (!isMap(healthcheck)) return;
  const place = [...path, 'healthcheck'];
  const { url, http_port: httpPort, code } = healthcheck;
  if (url !== undefined && httpPort === undefined && ports.size !== 1) {
    const message = 'an HTTP check needs http_port: the role has not exactly one port';
    report([...place, 'url'], { code: appFileCodes.port, message, at: 'key' });
  }
  for (const key of ['http_port', 'code']) {
    if (healthcheck[key] === undefined || url !== undefined) continue;
    report([...place, key], {
      code: appFileCodes.port,
      message: `${key} means something together with url only`,
      at: 'key',
    });
  }
  if (code === undefined && typeof httpPort === 'number' && ports.size > 0 && !ports.has(httpPort)) {
    const message = `the port ${httpPort} is not among the ports of this role`;
    report([...place, 'http_port'], { code: appFileCodes.advice, message, severity: 'warning' });
  }
}
