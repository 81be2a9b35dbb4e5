import type { Role } from './plan.ts';

/**
 * `/etc/appimg/roles/<role>`: a fragment of POSIX sh that the launcher sources. Its first line says whom the role runs as;
 * everything else is quoted, so that no text of App.yaml is ever read as shell.
 */
export function roleFile(role: Role): string {
  const lines = [`# user: ${role.user}`];
  for (const [name, value] of Object.entries(role.environment)) {
    lines.push(`export ${name}=${shellQuote(value)}`);
  }
  lines.push(`cd ${shellQuote(role.workingDirectory)} || exit 1`);
  // The launcher has shifted the role's name away: what is left are arguments of `docker run IMAGE ROLE …`. A shell's first
  // argument after its script is its name ($0), and belongs to none of them.
  const shell = role.command[0] === '/bin/sh' && role.command[1] === '-c' && role.command.length === 3;
  const command = shell ? [...role.command, role.name] : role.command;
  lines.push(`exec ${command.map(shellQuote).join(' ')} "$@"`);
  return `${lines.join('\n')}\n`;
}

/** POSIX sh, XCU 2.2.2: nothing is special within single quotes but the quote itself. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
