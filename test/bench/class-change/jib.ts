import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { run } from '../http.ts';

/** The library that Jib's plugins and its command line are made of; the command line itself is not in Maven Central. */
const version = '0.27.3';

/** What goes before the arguments of `JibBuild`. Undefined: this machine has no JDK or Maven, or Maven finds no repository. */
export async function prepareJib(
  scratch: string,
  say: (line: string) => void,
): Promise<readonly string[] | undefined> {
  const libraries = resolve(import.meta.dirname, `../../../node_modules/.cache/brickyard/jib/${version}`);
  const classes = join(scratch, 'jib');
  await mkdir(classes);
  try {
    await fetchLibraries(libraries);
    await run('javac', ['-cp', `${libraries}/*`, '-d', classes, join(import.meta.dirname, 'JibBuild.java')]);
    return ['-cp', `${libraries}/*:${classes}`, 'JibBuild'];
  } catch (error) {
    say(`without jib: ${(error as Error).message.split('\n', 1)[0]}`);
    return undefined;
  }
}

async function fetchLibraries(folder: string): Promise<void> {
  const found: readonly string[] = await readdir(folder).catch(() => []);
  if (found.includes(`jib-core-${version}.jar`)) return;
  await mkdir(folder, { recursive: true });
  const project = join(folder, 'pom.xml');
  const dependency = `<groupId>com.google.cloud.tools</groupId><artifactId>jib-core</artifactId><version>${version}</version>`;
  await writeFile(
    project,
    `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>bench</groupId><artifactId>jib</artifactId><version>1</version><dependencies><dependency>${dependency}</dependency></dependencies></project>`,
  );
  await run('mvn', [
    '--quiet',
    '--batch-mode',
    '--file',
    project,
    'dependency:copy-dependencies',
    '-DincludeScope=runtime',
    `-DoutputDirectory=${folder}`,
  ]);
}
