import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../../core/user-error.ts';
import { runProgram } from '../run-program.ts';
import { lockFolder } from './lock-folder.ts';

export interface DebianRequest {
  /** `bookworm`. */
  readonly suite: string;
  /** Debian's name: `amd64`, `arm64`. */
  readonly architecture: string;
  readonly packages: readonly string[];
  /** dpkg's status file of the system that they are added to: what it holds is not fetched again. Default: nothing is there. */
  readonly installed?: Buffer;
}

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** From apt's signed indices. */
  readonly sha256: string;
  /** Its part of the index, as apt-cache shows it. */
  readonly stanza: string;
  /** The verified .deb. */
  readonly file: string;
}

export interface AptOptions {
  /** apt's private folders, kept between runs as a cache. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
  /** The lists were fetched a moment ago, and all packages of one run should be of one day. Default false. */
  readonly listsAreFresh?: boolean;
}

export interface DebianDownload {
  /** In order of name. */
  readonly packages: readonly DebianPackage[];
  /** Contents of an apt source file that names where they came from. */
  readonly sources: string;
}

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * Downloads packages and all they need with apt, in folders of our own: the machine's package state is neither read nor changed and no root is
 * needed. Mirrors, proxies and credentials are the machine's. Errors: UserError, written for the person who runs it.
 */
export async function downloadDebianPackages(
  request: DebianRequest,
  options: AptOptions,
): Promise<DebianDownload> {
  // apt would not wait for another one, and would read that one's configuration.
  const release = await lockFolder(options.folder, options.signal);
  try {
    return await download(request, options);
  } finally {
    await release();
  }
}

async function download(request: DebianRequest, options: AptOptions): Promise<DebianDownload> {
  const { signal } = options;
  const sources = await findSources(request, signal);
  const env = { APT_CONFIG: await writeConfiguration(request, sources, options), LC_ALL: 'C.UTF-8' };
  options.onProgress(0, 100);
  if (options.listsAreFresh !== true) {
    await runProgram('apt-get', ['update', '-q', '-o', 'APT::Update::Error-Mode=any'], { env, signal });
  }
  options.onProgress(20, 100);
  const install = ['install', '-y', '-q', ...request.packages];
  const plan = parsePlan(await runProgram('apt-get', ['-s', ...install], { env, signal }));
  if (plan.length === 0) {
    if (request.installed === undefined) throw new UserError('apt found no packages to install');
    options.onProgress(100, 100);
    return { packages: [], sources };
  }
  const shown = await runProgram(
    'apt-cache',
    ['show', '--no-all-versions', ...plan.map(({ name, version }) => `${name}=${version}`)],
    { env, signal },
  );
  const stanzas = parseStanzas(shown);
  await runProgram('apt-get', ['-d', ...install, '-o', 'APT::Status-Fd=1'], {
    env,
    signal,
    onLine(line) {
      const percent = /^dlstatus:[0-9]+:([0-9.]+):/.exec(line)?.[1];
      if (percent !== undefined) options.onProgress(20 + Number(percent) * 0.8, 100);
    },
  });
  const packages: DebianPackage[] = [];
  for (const { name, version, architecture } of plan) {
    // apt's own file names: a colon in the version is escaped.
    const file = join(
      options.folder,
      'archives',
      `${name}_${version.replaceAll(':', '%3a')}_${architecture}.deb`,
    );
    const { stanza = '', sha256 } = stanzas.get(`${name} ${version}`) ?? {};
    if (sha256 === undefined) throw new UserError(`apt knows no SHA256 of ${name} ${version}`);
    await verify(file, sha256);
    packages.push({ name, version, architecture, sha256, stanza, file });
  }
  return { packages, sources };
}

/**
 * The machine's own Debian mirrors, asked for the wanted suite: this also works on another Debian release. Other vendors' sources are left
 * out, and so are credentials in a URL, since the list also enters the image.
 */
async function findSources(request: DebianRequest, signal: AbortSignal): Promise<string> {
  const format = '$(REPO_URI) $(RELEASE) $(COMPONENT)';
  const targets = await runProgram('apt-get', ['indextargets', '--format', format, 'Identifier: Packages'], {
    signal,
  });
  const found = new Map<string, string>();
  for (const line of targets.split('\n')) {
    const [uri = '', release = '', component] = line.split(' ');
    const match =
      /^(?:bullseye|bookworm|trixie|forky|duke|oldstable|stable|testing|sid|unstable)(-updates|-security)?(?:\/updates)?$/.exec(
        release,
      );
    if (match === null || component !== 'main' || !/^(?:https?|mirror\+?\w*|file|copy):/.test(uri)) continue;
    const kind = match[1] ?? '';
    if (!found.has(kind)) found.set(kind, uri.replace(/\/+$/, ''));
  }
  const main = found.get('');
  if (main === undefined) {
    throw new UserError(
      `apt on this machine names no Debian mirror, so Debian ${request.suite} cannot be fetched. ` +
        'Run this on Debian, or add a "deb <mirror> bookworm main" line to its apt sources.',
    );
  }
  await access(keyring).catch(() => {
    throw new UserError(
      `Debian's signing keys are not on this machine: install the package debian-archive-keyring.`,
    );
  });
  return ['', '-updates', '-security']
    .filter((kind) => found.has(kind))
    .map((kind) => {
      const uri = (found.get(kind) ?? '').replace(/\/\/[^/@]*@/, '//');
      return `Types: deb\nURIs: ${uri}\nSuites: ${request.suite}${kind}\nComponents: main\nSigned-By: ${keyring}\n`;
    })
    .join('\n');
}

/** APT_CONFIG is read before everything else, so it can also keep the machine's hooks (`Post-Invoke`) from running. */
async function writeConfiguration(
  request: DebianRequest,
  sources: string,
  options: AptOptions,
): Promise<string> {
  const { folder } = options;
  const parts = ['etc/empty', 'etc/sources', 'state/lists/partial', 'archives/partial'];
  for (const part of parts) await mkdir(join(folder, part), { recursive: true });
  await writeFile(join(folder, 'status'), request.installed ?? '');
  await writeFile(join(folder, 'etc/sources/debian.sources'), sources);
  const machine = await runProgram('apt-config', ['dump'], { signal: options.signal });
  // Proxies, certificates and time limits; nothing that runs programs after an update.
  const network = machine
    .split('\n')
    .filter((line) => /^Acquire::(?:http|https|ftp|tor|Retries|ForceIPv|Proxy)/i.test(line));
  const text = (path: string): string => JSON.stringify(join(folder, path));
  const lines = [
    `Dir::Etc::parts ${text('etc/empty')};`,
    `Dir::Etc::main ${text('etc/none')};`,
    `Dir::Etc::sourcelist ${text('etc/none')};`,
    `Dir::Etc::sourceparts ${text('etc/sources')};`,
    `Dir::Etc::preferences ${text('etc/none')};`,
    `Dir::Etc::preferencesparts ${text('etc/empty')};`,
    `Dir::State ${text('state')};`,
    `Dir::State::status ${text('status')};`,
    `Dir::Cache ${text('.')};`,
    `Dir::Cache::archives ${text('archives')};`,
    `Dir::Log ${text('log')};`,
    // The private folders belong to whoever runs this; apt's own download user could not read them.
    'APT::Sandbox::User "";',
    `APT::Architecture "${request.architecture}";`,
    `APT::Architectures { "${request.architecture}"; };`,
    'APT::Install-Recommends "false";',
    'APT::Get::Assume-Yes "true";',
    'Acquire::Languages "none";',
    'Acquire::Retries "3";',
    ...network,
  ];
  const file = join(folder, 'apt.conf');
  await writeFile(file, `${lines.join('\n')}\n`);
  return file;
}

/** `Inst name [installed] (version where [architecture])` of a simulated install, in order of name. */
export function parsePlan(
  simulation: string,
): readonly { readonly name: string; readonly version: string; readonly architecture: string }[] {
  const found = [
    ...simulation.matchAll(/^Inst ([a-z0-9.+-]+)(?::\w+)? (?:\[\S+\] )?\((\S+) .*\[(\w+)\]\)/gm),
  ];
  return found
    .map(([, name = '', version = '', architecture = '']) => ({ name, version, architecture }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** By `name version`, from what apt-cache shows. */
function parseStanzas(shown: string): Map<string, { stanza: string; sha256: string }> {
  const stanzas = new Map<string, { stanza: string; sha256: string }>();
  for (const stanza of shown.split('\n\n')) {
    const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(stanza)?.[1] ?? '';
    const sha256 = field('SHA256');
    if (sha256 !== '') stanzas.set(`${field('Package')} ${field('Version')}`, { stanza, sha256 });
  }
  return stanzas;
}

async function verify(file: string, sha256: string): Promise<void> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  const actual = hash.digest('hex');
  if (actual !== sha256)
    throw new UserError(`${file} is damaged: SHA256 ${actual} instead of ${sha256}; remove it and try again`);
}
