import { appName, proposeAppFile, web, yamlText } from '../appfile/propose.ts';
import { splitShellWords } from '../appfile/shell-words.ts';
import type { PackageName } from './package-name.ts';

/** What the sender says instead of an App.yaml. */
export interface PackageHints {
  /** `name:channel`. */
  readonly base?: string;
  /** Of the only role, `web`. */
  readonly command?: string;
  /** That the program listens on. Default 8080. */
  readonly port?: number;
}

/** What is known of a package without an App.yaml. */
export interface PackageFacts {
  readonly name: PackageName;
  /** Name of the repository's second part. */
  readonly app: string;
  /** The names at the top of an archive; of a .war or .jar nothing is asked. */
  readonly names: readonly string[];
  /** A text file at the top of an archive, or of a .jar. */
  readonly read: (name: string) => string | undefined;
  readonly hints: PackageHints;
}

/** A complete App.yaml, or what to do, for the sender. */
export type PackageProposal = { readonly text: string } | { readonly refused: string };

/** How the servers of the catalog are started; they listen where HTTP_PORT says. */
const serverCommands: Readonly<Record<string, string>> = { tomcat: 'cmd: tomcat', resin: 'cmd: resin' };

/** It says nothing of the package's name or time: equal files make an equal image. */
const header = '# Proposed by brickyard for a package that brings no App.yaml.\n';
const manifestName = 'META-INF/MANIFEST.MF';

/** An App.yaml for a package that brings none, by its kind. */
export function proposePackage(facts: PackageFacts): PackageProposal {
  switch (facts.name.kind) {
    case 'war':
      return proposeWar(facts);
    case 'jar':
      return proposeJar(facts);
    case 'archive':
      return proposeArchive(facts);
  }
}

function proposeWar(facts: PackageFacts): PackageProposal {
  const { base = 'tomcat:10', port } = facts.hints;
  const own = ownCommand(facts);
  if (own !== undefined) return { text: assemble(facts, base, own) };
  const known = serverCommands[baseName(base)];
  if (known === undefined) return { refused: `say by which command ${base} serves webapps/ROOT (--command)` };
  const more = port === undefined ? [] : [`    env: { HTTP_PORT: "${port}" }`];
  return { text: assemble(facts, base, known, more) };
}

function proposeJar(facts: PackageFacts): PackageProposal {
  const own = ownCommand(facts);
  const runnable = /^Main-Class:/m.test(facts.read(manifestName) ?? '');
  if (own === undefined && !runnable) {
    return {
      refused: `${facts.name.file} names no Main-Class in ${manifestName}, so "java -jar" cannot start it; give its command (--command) or an App.yaml (--app)`,
    };
  }
  const command = own ?? `commands: [java, -jar, ${yamlText(facts.name.file)}]`;
  return { text: assemble(facts, facts.hints.base ?? 'jdk:17', command) };
}

function proposeArchive(facts: PackageFacts): PackageProposal {
  const { base } = facts.hints;
  const own = ownCommand(facts);
  if (base !== undefined && own !== undefined) return { text: assemble(facts, base, own) };
  const proposal = proposeAppFile({ names: facts.names, read: facts.read, released: true }, facts.app);
  const told = base !== undefined || own !== undefined || facts.hints.port !== undefined;
  if (['node', 'static'].includes(proposal.project.kind) && !told) return { text: header + proposal.text };
  return {
    refused:
      `${facts.name.file} holds no App.yaml${told ? '; without one, both --base and --command are needed' : ''}. ` +
      `Put one into it, or give one by --app, for example:\n\n${proposal.text}`,
  };
}

function assemble(facts: PackageFacts, base: string, command: string, more: readonly string[] = []): string {
  const lines = [
    `appname: ${appName(facts.app)}`,
    `base: ${yamlText(base)}`,
    ...web(command, `${facts.hints.port ?? 8080}/http`, more),
  ];
  return `${header}${lines.join('\n')}\n`;
}

/** As words where that is possible: then the program gets its signals itself. */
function ownCommand(facts: PackageFacts): string | undefined {
  const { command } = facts.hints;
  if (command === undefined) return undefined;
  return `${'words' in splitShellWords(command) ? 'cmd' : 'shell'}: ${yamlText(command)}`;
}

function baseName(base: string): string {
  return base.slice(base.lastIndexOf('/') + 1).split(/[:@]/, 1)[0] as string;
}
