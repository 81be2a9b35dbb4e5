export interface ProjectKind {
  readonly kind: 'node' | 'maven' | 'gradle' | 'war' | 'jar' | 'python' | 'static' | 'unknown';
  /** Catalog name that fits. */
  readonly base: string;
  /** The file that told. */
  readonly because?: string;
}

/** What a project is, by the names of the files at its top. */
export function detectProject(names: readonly string[]): ProjectKind {
  const present = new Set(names);
  const first = (...candidates: string[]): string | undefined => candidates.find((name) => present.has(name));
  const ending = (suffix: string): string | undefined => names.find((name) => name.endsWith(suffix));

  const node = first('package.json', 'server.js', 'server.mjs', 'server.ts');
  if (node !== undefined) return { kind: 'node', base: 'nodejs:26', because: node };
  const maven = first('pom.xml');
  if (maven !== undefined) return { kind: 'maven', base: 'jdk:17', because: maven };
  const gradle = first('build.gradle', 'build.gradle.kts');
  if (gradle !== undefined) return { kind: 'gradle', base: 'jdk:17', because: gradle };
  const war = ending('.war');
  if (war !== undefined) return { kind: 'war', base: 'tomcat:10', because: war };
  const jar = ending('.jar');
  if (jar !== undefined) return { kind: 'jar', base: 'jdk:17', because: jar };
  const python = first('requirements.txt', 'pyproject.toml', 'manage.py', 'app.py', 'main.py');
  if (python !== undefined) return { kind: 'python', base: 'python:3.11', because: python };
  const page = first('index.html');
  if (page !== undefined) return { kind: 'static', base: 'static:1', because: page };
  return { kind: 'unknown', base: 'base:12' };
}
