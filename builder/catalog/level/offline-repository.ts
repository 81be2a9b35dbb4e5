import { stat } from 'node:fs/promises';
import { inputsDirectory, type LevelInputFile } from '../../engines/level-sandbox.ts';
import type { DebianPackage } from '../debian/apt.ts';

const root = `${inputsDirectory}/apt`;
/** In memory, so that nothing of it stays in the image. */
const scratch = '/tmp/brickyard-apt';

/** What apt in a level's container is told by APT_CONFIG, instead of by files that would stay in the image. */
const configuration = `Dir::Etc::main "/dev/null";
Dir::Etc::parts "${root}/empty";
Dir::Etc::sourcelist "${root}/sources.list";
Dir::Etc::sourceparts "${root}/empty";
Dir::State::lists "${scratch}/lists";
Dir::Cache "${scratch}";
Dir::Log "${scratch}/log";
APT::Sandbox::User "root";
APT::Get::Assume-Yes "true";
APT::Install-Recommends "false";
Acquire::Languages "none";
// A level's own configuration files lie there already; fsync costs most of the time and nothing survives a crash here.
DPkg::Options { "--force-confdef"; "--force-confold"; "--force-unsafe-io"; };
`;

/** Shell lines that make `apt-get install` work against `offlineRepository`. */
export const prepareApt = `mkdir -p ${scratch}/lists/partial ${scratch}/archives/partial ${scratch}/log
apt-get -qq update`;

export const aptEnvironment = { APT_CONFIG: `${root}/apt.conf`, DEBIAN_FRONTEND: 'noninteractive' } as const;

/** A Debian repository of exactly these packages, as files below `inputsDirectory`. Each was checked against apt's signed indices before. */
export async function offlineRepository(
  packages: readonly DebianPackage[],
): Promise<readonly LevelInputFile[]> {
  const stanzas: string[] = [];
  const files: LevelInputFile[] = [];
  for (const { name, architecture, stanza, file } of packages) {
    // Without the version: its colon and percent sign would need quoting, and apt has its own idea of that.
    const path = `pool/${name}_${architecture}.deb`;
    stanzas.push(stanza.replace(/^Filename: .*$/m, `Filename: ./${path}`).trimEnd());
    const { size } = await stat(file);
    files.push({ path: `apt/${path}`, content: { file, size } });
  }
  const text = (path: string, content: string): LevelInputFile => ({
    path: `apt/${path}`,
    content: Buffer.from(content),
  });
  return [
    text('apt.conf', configuration),
    text('empty/none', ''),
    text('sources.list', `deb [trusted=yes] file:${root} ./\n`),
    text('Packages', `${stanzas.join('\n\n')}\n`),
    ...files,
  ];
}
