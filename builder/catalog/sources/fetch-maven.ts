import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from '../run-program.ts';

/** `group:artifact:version[:packaging[:classifier]]`, taken apart. */
export interface MavenCoordinate {
  readonly group: string;
  readonly artifact: string;
  readonly version: string;
  /** Also the end of the file's name. */
  readonly packaging: string;
  readonly classifier?: string;
}

/** The text was checked by the schema. */
export function parseMavenCoordinate(text: string): MavenCoordinate {
  const [group = '', artifact = '', version = '', packaging = 'jar', classifier] = text.split(':');
  return { group, artifact, version, packaging, ...(classifier === undefined ? {} : { classifier }) };
}

/** Where it lies below the address of a repository (Maven's default layout). */
export function mavenPath({ group, artifact, version, packaging, classifier }: MavenCoordinate): string {
  const suffix = classifier === undefined ? '' : `-${classifier}`;
  return `${group.replaceAll('.', '/')}/${artifact}/${version}/${artifact}-${version}${suffix}.${packaging}`;
}

/**
 * Has the machine's own mvn (its settings, mirrors and credentials) copy artifacts into `folder`, named by their place in
 * `coordinates`. One run for all of them, since each costs some seconds. Errors: UserError when mvn is missing or fails.
 */
export async function fetchMavenArtifacts(
  coordinates: readonly MavenCoordinate[],
  options: { readonly folder: string; readonly localRepository: string; readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const { folder, localRepository, signal } = options;
  const pom = join(folder, 'pom.xml');
  await writeFile(pom, projectFile(coordinates, folder));
  await runProgram(
    'mvn',
    ['--batch-mode', '--quiet', '--file', pom, `-Dmaven.repo.local=${localRepository}`, 'dependency:copy'],
    { signal, cwd: folder, faultsOnStdout: true },
  );
  return coordinates.map((_, index) => join(folder, String(index)));
}

/** A project that only says what to copy. Coordinates hold no characters that XML gives a meaning to. */
function projectFile(coordinates: readonly MavenCoordinate[], folder: string): string {
  const items = coordinates.map(
    ({ group, artifact, version, packaging, classifier }, index) => `
          <artifactItem>
            <groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version>
            <type>${packaging}</type>${classifier === undefined ? '' : `<classifier>${classifier}</classifier>`}
            <destFileName>${index}</destFileName>
          </artifactItem>`,
  );
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>brickyard</groupId><artifactId>sources</artifactId><version>1</version><packaging>pom</packaging>
  <build>
    <plugins>
      <plugin>
        <groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId><version>3.6.1</version>
        <configuration>
          <outputDirectory>${escapeXml(folder)}</outputDirectory>
          <artifactItems>${items.join('')}
          </artifactItems>
        </configuration>
      </plugin>
    </plugins>
  </build>
</project>
`;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
