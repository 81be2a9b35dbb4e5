import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { parseHtpasswd } from '../../core/auth/htpasswd.ts';
import { UserError } from '../../core/user-error.ts';
import { checkListenAddress, readConfig } from '../config.ts';
import type { CliContext } from '../context.ts';
import { formatBytes } from '../text.ts';
import { engineFindings } from './doctor-engine.ts';
import { type PoolDoctorFlags, poolFindings } from './doctor-pool.ts';
import { storeFindings } from './doctor-store.ts';

export interface Finding {
  readonly what: string;
  /** `note`: works, but somebody may want to know. */
  readonly state: 'ok' | 'note' | 'bad';
  readonly text: string;
}

interface DoctorFlags extends Partial<PoolDoctorFlags> {
  readonly config?: string;
  readonly json?: boolean;
}

/** `doctor`: looks at everything a server needs on this machine and says what to do about what it finds. */
export function registerDoctor(program: Command, context: CliContext): void {
  program
    .command('doctor')
    .description('check configuration, store, git, container engine and disk space')
    .option('--config <file>', 'configuration file (default: brickyard.yaml, where there is one)')
    .option(
      '--pool <name>',
      'instead: do pulls of this machine go through that pool? Its name or its address',
    )
    .option(
      '--pools <file>',
      'with --pool: where the pools are (default: pools.yaml, or what is installed here)',
    )
    .option('--image <ref>', 'with --pool: ask the pool for HOST/REPOSITORY:TAG as a container engine would')
    .option(
      '--pull <program>',
      'with --image: have podman, docker, crictl or ctr pull it, and see what the pool counts',
    )
    .option('--agent <host:port>', "with --pull: where the pool's statistics are (default: its agent.listen)")
    .option('--ca <file>', "with --pool: certificates that the pool's is checked with")
    .option('--root <dir>', "with --pool: the node's root", '/')
    .option('--json', 'print JSON')
    .action(async (flags: DoctorFlags) => {
      const { pool } = flags;
      const findings =
        pool === undefined
          ? await examine(context, flags.config)
          : await poolFindings(context, { ...flags, pool });
      context.stdout(
        flags.json === true ? `${JSON.stringify(findings, null, 2)}\n` : findings.map(toLine).join(''),
      );
      const bad = findings.filter((finding) => finding.state === 'bad').length;
      if (bad > 0) throw new UserError(`${bad} of ${findings.length} checks failed`);
    });
}

/** Further lines of a text stand below its first one. */
function toLine({ what, state, text }: Finding): string {
  return `${marks[state]} ${what.padEnd(18)} ${text.replaceAll('\n', `\n${' '.repeat(24)}`)}\n`;
}

const marks = { ok: 'ok  ', note: 'note', bad: 'BAD ' } as const;

async function examine(context: CliContext, file: string | undefined): Promise<Finding[]> {
  const findings: Finding[] = [
    { what: 'node', state: 'ok', text: `${process.versions.node}, ${availableParallelism()} cores` },
    gitFinding(),
  ];
  let config: ReturnType<typeof readConfig>;
  try {
    config = readConfig({ ...(file === undefined ? {} : { file }), env: context.env, cwd: context.cwd });
    checkListenAddress(config, { insecureOpen: false });
    findings.push({ what: 'configuration', state: 'ok', text: `listens on ${config.listen}` });
  } catch (error) {
    return [...findings, { what: 'configuration', state: 'bad', text: (error as Error).message }];
  }
  findings.push(
    ...(await storeFindings(config)),
    spaceFinding(config.data),
    ...(await engineFindings(
      { engine: config.builder.engine, runtime: config.builder.sandbox.runtime },
      context.env,
    )),
    baseFinding(),
    accountsFinding(config.auth.htpasswd),
  );
  return findings;
}

function gitFinding(): Finding {
  const { stdout, error } = spawnSync('git', ['--version'], { encoding: 'utf8' });
  if (error !== undefined) return { what: 'git', state: 'bad', text: 'not found; install git 2.29 or newer' };
  const [, major = '0', minor = '0'] = /(\d+)\.(\d+)/.exec(stdout) ?? [];
  const enough = Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 29);
  return {
    what: 'git',
    state: enough ? 'ok' : 'bad',
    text: enough ? stdout.trim() : `${stdout.trim()} is too old; 2.29 is needed`,
  };
}

function spaceFinding(data: string): Finding {
  try {
    // A server over S3 makes its folder (caches) only when it needs it.
    let folder = data;
    while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
    const { bavail, bsize, blocks } = statfsSync(folder);
    const free = bavail * bsize;
    const text = `${formatBytes(free)} of ${formatBytes(blocks * bsize)} free in ${data}`;
    return { what: 'disk', state: free < 2e9 ? 'bad' : free < 10e9 ? 'note' : 'ok', text };
  } catch (error) {
    return { what: 'disk', state: 'bad', text: (error as Error).message };
  }
}

function accountsFinding(file: string | undefined): Finding {
  const what = 'accounts';
  if (file === undefined) {
    return { what, state: 'note', text: 'none: it listens on loopback only (brickyard user add NAME)' };
  }
  try {
    const { users, faults } = parseHtpasswd(readFileSync(file, 'utf8'));
    const [fault] = faults;
    if (fault !== undefined) return { what, state: 'bad', text: `${file}:${fault.line}: ${fault.message}` };
    if (users.size === 0)
      return {
        what,
        state: 'note',
        text: `${file} has none, so nobody can sign in (brickyard user add NAME)`,
      };
    return { what, state: 'ok', text: `${users.size} in ${file}` };
  } catch (error) {
    return { what, state: 'bad', text: `${(error as Error).message} (brickyard user add NAME)` };
  }
}

function baseFinding(): Finding {
  const missing = ['apt-get', 'dpkg-deb'].filter(
    (program) => spawnSync(program, ['--version']).error !== undefined,
  );
  return missing.length === 0
    ? { what: 'base images', state: 'ok', text: 'apt-get and dpkg-deb are here' }
    : {
        what: 'base images',
        state: 'note',
        text: `${missing.join(' and ')} not found: base images are made on a Debian machine`,
      };
}
