import { detectProject, type ProjectKind } from './detect-project.ts';
import { isReservedAppName } from './names.ts';
import { splitShellWords } from './shell-words.ts';

/** The top of a project's directory, as much as a proposal needs. */
export interface ProjectReader {
  readonly names: readonly string[];
  /** A text file at the top; undefined when it cannot be read. */
  readonly read: (name: string) => string | undefined;
  /** A release package: dependencies that lie in it need no build. In a working tree they are the developer's own. */
  readonly released?: boolean;
}

export interface Proposal {
  /** A complete App.yaml that lints clean. */
  readonly text: string;
  readonly project: ProjectKind;
}

/** An App.yaml for a project that has none. It guesses; what it could not know is marked by a comment. `name` is the directory's. */
export function proposeAppFile(project: ProjectReader, name: string): Proposal {
  const kind = detectProject(project.names);
  const because =
    kind.because === undefined ? 'nothing here told what it is' : `because of ${yamlText(kind.because)}`;
  const appname = appName(name);
  const body = bodies[kind.kind](project, kind).map((line) => line.replaceAll('APPDIR', `/home/${appname}`));
  const text = [
    `appname: ${appname}`,
    `base: ${kind.base}  # ${kind.kind === 'unknown' ? because : `a ${kind.kind} project, ${because}`}`,
    ...body,
    '',
  ].join('\n');
  return { text, project: kind };
}

/** What a push without App.yaml prints, and `brickyard init` beside the file. */
export function initText(proposal: Proposal): string {
  return `This project has no App.yaml. Put this one at its top, check it and push again:\n\n${proposal.text}`;
}

type Body = (project: ProjectReader, kind: ProjectKind) => string[];

const bodies: Readonly<Record<ProjectKind['kind'], Body>> = {
  node: (project) => {
    const manifest = readManifest(project.read('package.json'));
    return [...nodeBuild(project, manifest), ...web(nodeCommand(project, manifest), '8080/http')];
  },
  maven: () => javaBuild('mvn -q -B package -DskipTests', 'target/*.jar'),
  gradle: () => javaBuild('./gradlew --no-daemon assemble', 'build/libs/*.jar'),
  war: (_project, kind) => [
    '# No build: the package is made already, only this file enters the image.',
    'source:',
    `  include: [${yamlText(kind.because ?? '')}]`,
    ...web('cmd: tomcat', '8080/http', [
      '    env: { WEBAPPS: APPDIR }  # served below its own name; "brickyard build FILE.war" serves it at /',
    ]),
  ],
  jar: (_project, kind) => [
    '# No build: the package is made already, only this file enters the image.',
    'source:',
    `  include: [${yamlText(kind.because ?? '')}]`,
    ...web(`commands: [java, -jar, ${yamlText(kind.because ?? '')}]`, '8080/http'),
  ],
  python: (project) => [
    ...(project.names.includes('requirements.txt')
      ? ['build:', `  commands: [${yamlText('pip install --target=lib -r requirements.txt')}]`]
      : []),
    ...web(`cmd: python3 ${pythonProgram(project)}`, '8000/http', ['    env: { PYTHONPATH: lib }']),
  ],
  static: () => web('cmd: static-server', '8080/http'),
  unknown: () =>
    web('shell: echo "write the command that starts your program here"; exec sleep infinity', '8080/http'),
};

/** One role, as proposals write it; `command` is the line that starts it. */
export function web(command: string, port: string, more: readonly string[] = []): string[] {
  return [
    'entrypoints:',
    '  web:  # docker run IMAGE web',
    `    ${command}`,
    `    ports: [${yamlText(port)}]  # the port that the program listens on`,
    ...more,
  ];
}

function javaBuild(command: string, jars: string): string[] {
  return [
    'build:',
    `  commands: [${yamlText(command)}]`,
    '  outputs:',
    `    ${yamlText(jars)}: APPDIR/`,
    ...web('shell: exec java -jar *.jar', '8080/http'),
  ];
}

interface Manifest {
  readonly start?: string;
  readonly build: boolean;
  readonly dependencies: boolean;
  readonly main?: string;
}

function readManifest(text: string | undefined): Manifest {
  const nothing = { build: false, dependencies: false };
  if (text === undefined || text.length > 1024 * 1024) return nothing;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return nothing;
  }
  const map = (item: unknown): Record<string, unknown> =>
    typeof item === 'object' && item !== null ? (item as Record<string, unknown>) : {};
  const { scripts, dependencies, main } = map(value);
  const start = map(scripts)['start'];
  return {
    ...(isPlainLine(start) ? { start } : {}),
    ...(isPlainLine(main) ? { main } : {}),
    build: typeof map(scripts)['build'] === 'string',
    dependencies: Object.keys(map(dependencies)).length > 0,
  };
}

function isPlainLine(value: unknown): value is string {
  return typeof value === 'string' && /^[\x20-\x7E]{1,1000}$/.test(value) && value.trim() !== '';
}

function nodeBuild(project: ProjectReader, manifest: Manifest): string[] {
  if (project.released === true && project.names.includes('node_modules')) {
    return ['# No build: the package brings its dependencies.'];
  }
  // A release is built already; what it was built from may be missing.
  const build = manifest.build && project.released !== true;
  if (!manifest.dependencies && !build) {
    return [
      '# No build: there are no dependencies to install. Dependencies would be installed by: build: npm ci',
    ];
  }
  const lock = ['package-lock.json', 'npm-shrinkwrap.json'].some((name) => project.names.includes(name));
  const commands = [lock ? 'npm ci' : 'npm install', ...(build ? ['npm run build'] : [])];
  return [
    '# Runs in a container over a copy of the source; what is there afterwards is the image.',
    'build:',
    ...commands.map((command) => `  - ${command}`),
  ];
}

function nodeCommand(project: ProjectReader, manifest: Manifest): string {
  const { start, main } = manifest;
  if (start !== undefined) {
    const split = splitShellWords(start);
    const direct = 'words' in split && split.words[0] === 'node';
    // npm between the launcher and the program would keep signals from it.
    if (direct) return `cmd: ${yamlText(start.trim())}`;
    return `shell: ${yamlText(`PATH="$PWD/node_modules/.bin:$PATH"; ${start.trim()}`)}`;
  }
  const program =
    main ??
    ['server.js', 'server.mjs', 'server.ts', 'index.js', 'app.js', 'index.mjs'].find((name) =>
      project.names.includes(name),
    );
  return `commands: [node, ${yamlText(program ?? 'server.js')}]`;
}

function pythonProgram(project: ProjectReader): string {
  if (project.names.includes('manage.py')) return 'manage.py runserver 0.0.0.0:8000';
  return ['app.py', 'main.py', 'server.py'].find((name) => project.names.includes(name)) ?? 'app.py';
}

/** The directory's name as a name of an application. */
export function appName(name: string): string {
  const words = name
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, 32)
    .replace(/-+$/, '');
  const fitting = words === '' ? 'my-app' : words;
  return isReservedAppName(fitting) ? `${fitting.slice(0, 28)}-app` : fitting;
}

/** A YAML scalar on one line: plain where nothing can be mistaken, in double quotes (which are JSON's) elsewhere. */
export function yamlText(text: string): string {
  const plain =
    /^[A-Za-z_./][A-Za-z0-9_./ -]*$/.test(text) &&
    !/^(?:true|false|null|~)$/i.test(text) &&
    text.trim() === text;
  return plain
    ? text
    : JSON.stringify(text).replace(
        /[^\x20-\x7E]/g,
        (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
      );
}
