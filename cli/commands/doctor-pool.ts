import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { askPool } from '../../cache-proxy/clients/ask-pool.ts';
import { checkNode } from '../../cache-proxy/clients/check-node.ts';
import { findClientCertificates } from '../../cache-proxy/clients/client-certificates.ts';
import { clientPool } from '../../cache-proxy/clients/client-pool.ts';
import { readRecord } from '../../cache-proxy/clients/install-record.ts';
import {
  type PoolStatistics,
  readPoolStatistics,
  statisticsBetween,
} from '../../cache-proxy/clients/pool-statistics.ts';
import { UserError } from '../../core/user-error.ts';
import { type ImageReference, parseImageReference } from '../../oci/reference.ts';
import type { CliContext } from '../context.ts';
import { findDockerCredential } from '../docker-credentials.ts';
import { loadPool } from '../load-pool.ts';
import type { Finding } from './doctor.ts';

export interface PoolDoctorFlags {
  /** Its name, as installed here or in pools.yaml, or its address. */
  readonly pool: string;
  readonly pools?: string;
  readonly image?: string;
  /** The program that is made to pull `image`. */
  readonly pull?: string;
  /** Address of the pool's agent. */
  readonly agent?: string;
  readonly ca?: string;
  readonly root?: string;
}

interface PoolFacts {
  readonly name?: string;
  readonly endpoint: string;
  readonly registries: readonly string[];
  readonly ca?: string;
  readonly agent: string;
}

const usualAgent = '127.0.0.1:5095';

/** Longer than nginx keeps lines of its log to itself. */
const statisticsPatienceMs = 6000;

/** `doctor --pool`: do pulls of this machine really go through the pool? Errors: UserError for options that are none. */
export async function poolFindings(context: CliContext, flags: PoolDoctorFlags): Promise<Finding[]> {
  const root = resolve(context.cwd, flags.root ?? '/');
  const facts = await factsOf(context, flags, root);
  const image = flags.image === undefined ? undefined : parseImage(flags.image);
  const { host } = new URL(facts.endpoint);
  const credential = await findDockerCredential(context, host);
  const findings: Finding[] = await askPool({
    endpoint: facts.endpoint,
    ...(facts.name === undefined ? {} : { pool: facts.name }),
    ...(facts.ca === undefined ? {} : { ca: facts.ca }),
    ...(credential === undefined
      ? {}
      : { credentials: { username: credential.user, password: credential.password } }),
    ...(image === undefined ? {} : { image: questionOf(image, host) }),
  });
  if (facts.registries.length > 0) {
    findings.push(
      ...(await checkNode({
        root,
        pool: facts.name ?? 'NAME',
        endpoint: facts.endpoint,
        registries: facts.registries,
      })),
    );
  }
  if (flags.pull !== undefined) findings.push(await pullFinding(context.env, facts, flags.pull, image));
  else if (image === undefined) {
    findings.push({
      what: 'image',
      state: 'note',
      text: 'none was asked for; --image HOST/REPOSITORY:TAG tells whether the account of this machine may pull it through the pool',
    });
  }
  return findings;
}

async function factsOf(context: CliContext, flags: PoolDoctorFlags, root: string): Promise<PoolFacts> {
  const agent = (written: string): string => {
    const url = written.includes('://') ? written : `http://${written}`;
    if (URL.canParse(url)) return url;
    throw new UserError(`--agent ${written} is no address, such as ${usualAgent}`, { exitCode: 2 });
  };
  const caFile = flags.ca === undefined ? undefined : resolve(context.cwd, flags.ca);
  const given = caFile === undefined ? {} : { ca: readCa(caFile) };
  if (/^https?:\/\//.test(flags.pool)) {
    if (!URL.canParse(flags.pool)) throw new UserError(`--pool ${flags.pool} is no address`, { exitCode: 2 });
    const endpoint = new URL(flags.pool).origin;
    return { endpoint, registries: [], agent: agent(flags.agent ?? usualAgent), ...given };
  }
  const file = resolve(context.cwd, flags.pools ?? 'pools.yaml');
  if (flags.pools !== undefined || existsSync(file)) {
    const pool = loadPool(context, { name: flags.pool, file });
    const { certificates } = await findClientCertificates(pool, caFile);
    const { name, endpoint, registries, ca } = clientPool(pool, certificates);
    return {
      name,
      endpoint,
      registries: registries.map((registry) => registry.host),
      agent: agent(flags.agent ?? pool.agent.listen),
      ...(ca === undefined ? {} : { ca }),
    };
  }
  if (!/^[a-z0-9][a-z0-9-]*$/.test(flags.pool)) {
    throw new UserError(`--pool ${flags.pool} is neither a pool's name nor its address`, { exitCode: 2 });
  }
  const record = await readRecord(root, flags.pool);
  if (record !== undefined) {
    const { pool: name, endpoint, registries, ca } = record;
    return {
      name,
      endpoint,
      registries,
      agent: agent(flags.agent ?? usualAgent),
      ...(ca === undefined ? {} : { ca }),
      ...given,
    };
  }
  throw new UserError(
    `nothing tells what the pool "${flags.pool}" is: there is no ${file}, and nothing of it is installed here. Say --pools FILE, or --pool https://ITS-ADDRESS`,
  );
}

function readCa(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new UserError(`cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}

function parseImage(text: string): ImageReference {
  const image = parseImageReference(text);
  if (image !== undefined) return image;
  throw new UserError(`"${text}" is no image, such as registry.example.com/team/app:main`, { exitCode: 2 });
}

/** As containerd asks a mirror: `?ns=` says which registry the image is of. */
function questionOf({ host, repository, tag, digest }: ImageReference, poolHost: string) {
  return {
    repository,
    reference: digest ?? tag ?? 'latest',
    ...(host === undefined || host === poolHost ? {} : { ns: host }),
  };
}

/** What each program is called with; its own files decide where it goes. */
const pullCommands: Readonly<Record<string, (image: string) => readonly string[]>> = {
  podman: (image) => ['podman', 'pull', '--quiet', image],
  docker: (image) => ['docker', 'pull', '--quiet', image],
  crictl: (image) => ['crictl', 'pull', image],
  ctr: (image) => [
    'ctr',
    '--namespace=k8s.io',
    'images',
    'pull',
    '--hosts-dir=/etc/containerd/certs.d',
    image,
  ],
};

/** The one test that nothing can fool: a real pull, and what the pool counted meanwhile. */
async function pullFinding(
  env: CliContext['env'],
  { agent }: PoolFacts,
  program: string,
  image: ImageReference | undefined,
): Promise<Finding> {
  const command = Object.hasOwn(pullCommands, program) ? pullCommands[program] : undefined;
  if (command === undefined) {
    throw new UserError(`--pull ${program}: there are ${Object.keys(pullCommands).join(', ')}`, {
      exitCode: 2,
    });
  }
  if (image?.host === undefined) {
    throw new UserError('--pull needs --image HOST/REPOSITORY:TAG, as the nodes call it', { exitCode: 2 });
  }
  const what = `${program} pull`;
  const before = await readPoolStatistics(agent);
  if (before === undefined) {
    return {
      what,
      state: 'note',
      text: `the pool's statistics cannot be read at ${agent}: run this on the pool's machine, or say --agent; nothing was pulled`,
    };
  }
  const { host, repository, tag, digest } = image;
  const name = `${host}/${repository}${digest === undefined ? `:${tag ?? 'latest'}` : `@${digest}`}`;
  const [executable = '', ...args] = command(name);
  const failure = await pullWith(executable, args, env);
  if (failure !== undefined) return { what, state: 'bad', text: `${name}: ${failure}` };
  const deadline = performance.now() + statisticsPatienceMs;
  let counted: PoolStatistics = { served: 0, refused: 0, failed: 0, other: 0 };
  do {
    const after = await readPoolStatistics(agent);
    if (after !== undefined) counted = statisticsBetween(before, after);
    if (counted.served > 0) break;
    await wait(250);
  } while (performance.now() < deadline);
  return { what, ...judgePull(name, counted) };
}

/** Undefined: it was pulled. Else why not. */
function pullWith(
  program: string,
  args: readonly string[],
  env: CliContext['env'],
): Promise<string | undefined> {
  return new Promise((settle) => {
    execFile(program, args, { env: { ...env }, timeout: 600_000 }, (error, _, stderr) => {
      if (error === null) return settle(undefined);
      settle(
        error.code === 'ENOENT' ? `${program} is not installed` : stderr.trim().slice(-500) || error.message,
      );
    });
  });
}

/** Pure part of `pullFinding`, after a pull that succeeded. */
export function judgePull(
  name: string,
  { served, refused, failed, other }: PoolStatistics,
): Pick<Finding, 'state' | 'text'> {
  if (served > 0) return { state: 'ok', text: `${name} came through the pool (${served} requests)` };
  const past = `${name} came from the registry itself, and the program said nothing`;
  if (failed > 0)
    return { state: 'bad', text: `${past}: the pool failed at ${failed} requests; see its log` };
  if (refused + other > 0) {
    return {
      state: 'bad',
      text: `${past}: the pool was asked, and refused it; it lacks the account for the pool's name`,
    };
  }
  return { state: 'bad', text: `${past}: the pool was not asked at all` };
}
