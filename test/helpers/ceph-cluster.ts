import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { requirePrograms } from './dockerd.ts';
import { freePort } from './free-port.ts';
import { type RunningProcess, runOk, startProcess, waitFor } from './process.ts';

/** What a client needs to know. */
export interface CephAddress {
  /** `http://127.0.0.1:<port>`; buckets are paths below it, not host names. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Processes of the store, for who measures what it costs: monitor, OSD, gateway. */
  readonly pids: readonly number[];
  /** The gateway's log; has a line for each request only with `requestLog`. */
  readonly gatewayLog: string;
}

export interface CephCluster extends CephAddress {
  /** Ends its processes and removes its folder. */
  stop(): Promise<void>;
}

export interface CephClusterOptions {
  /** Everything it writes; made here, removed by `stop`. Removed first when it is there. */
  readonly folder: string;
  /** Most bytes of all objects together; the file is sparse. Default 20 GiB. */
  readonly capacity?: number;
  /** One line for each S3 request in `gatewayLog`, as `beast: … "PUT /bucket/key HTTP/1.1" 200 …`. */
  readonly requestLog?: boolean;
}

/**
 * A Ceph Object Gateway with one monitor and one OSD on the loopback: a real S3 store in about 9 seconds and 200 MB of memory. Every process
 * dies with this one. Errors: when programs are missing (says `npm run setup`), or when it does not come up (with its logs).
 */
export async function startCephCluster(options: CephClusterOptions): Promise<CephCluster> {
  await requirePrograms(cephPrograms);
  const { folder } = options;
  await rm(folder, { recursive: true, force: true });
  for (const each of ['mon', 'osd']) await mkdir(join(folder, each), { recursive: true });
  const fsid = randomUUID();
  const [monPort, gatewayPort] = [await freePort(), await freePort()];
  const configFile = join(folder, 'ceph.conf');
  await writeFile(configFile, configuration({ ...options, fsid, monPort, gatewayPort }));
  // Without its own file each program would read the machine's.
  const env = { CEPH_CONF: configFile, CEPH_ARGS: undefined };
  const ceph = (program: string, ...args: readonly string[]): Promise<string> =>
    runOk(program, args, { env, timeoutMs: 30_000 });
  const processes: RunningProcess[] = [];
  const daemon = async (program: string, ...args: readonly string[]): Promise<void> => {
    // PDEATHSIG: should this process be killed, its store goes too.
    processes.push(
      await startProcess('setpriv', ['--pdeathsig=KILL', program, '-f', ...args], { env, cwd: folder }),
    );
  };
  const undo = async (): Promise<void> => {
    // Nothing of it is kept, so nothing needs to be written: a clean end of the OSD takes seconds.
    for (const running of processes.toReversed()) await running.stop('SIGKILL');
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  const died = (): string | undefined =>
    processes.some(({ child }) => child.exitCode !== null || child.signalCode !== null)
      ? `a process of it ended:\n${processes.map((each) => each.output()).join('\n')}`
      : undefined;
  try {
    await writeKeyring(folder, ceph);
    const monmap = join(folder, 'monmap');
    const monAddress = `[v2:127.0.0.1:${monPort}]`;
    await ceph('monmaptool', '--create', '--fsid', fsid, '--addv', 'a', monAddress, monmap);
    await ceph('ceph-mon', '-i', 'a', '--mkfs', '--monmap', monmap, '--keyring', join(folder, 'keyring'));
    await daemon('ceph-mon', '-i', 'a');
    const osd = randomUUID();
    await Promise.all([
      ceph('ceph', '--connect-timeout', '20', 'osd', 'new', osd).then(() =>
        ceph('ceph', '--connect-timeout', '20', 'auth', 'import', '-i', join(folder, 'keyring')),
      ),
      ceph('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', osd),
    ]);
    await daemon('ceph-osd', '-i', '0');
    await daemon('radosgw', '-n', 'client.rgw');
    const endpoint = `http://127.0.0.1:${gatewayPort}`;
    await waitFor(() => answersHttp(endpoint), {
      what: 'the Ceph Object Gateway',
      timeoutMs: 90_000,
      gaveUp: died,
    });
    const keys = { accessKeyId: 'brickyard', secretAccessKey: randomBytes(16).toString('hex') };
    await ceph(
      'radosgw-admin',
      'user',
      'create',
      '--uid=brickyard',
      '--display-name=Brickyard tests',
      // As many as they like.
      '--max-buckets=0',
      `--access-key=${keys.accessKeyId}`,
      `--secret-key=${keys.secretAccessKey}`,
    );
    return {
      endpoint,
      // The gateway's name for "wherever you are"; clients must sign with some region.
      region: 'us-east-1',
      ...keys,
      pids: processes.map((running) => running.pid),
      gatewayLog: join(folder, 'client.rgw.log'),
      stop: undo,
    };
  } catch (error) {
    const log = await readFile(join(folder, 'client.rgw.log'), 'utf8').catch(() => '');
    await undo();
    throw new Error(`Ceph does not start: ${(error as Error).message}\n${log.slice(-4_000)}`, {
      cause: error,
    });
  }
}

const cephPrograms = [
  'ceph',
  'ceph-authtool',
  'monmaptool',
  'ceph-mon',
  'ceph-osd',
  'radosgw',
  'radosgw-admin',
  'setpriv',
];

async function writeKeyring(
  folder: string,
  ceph: (program: string, ...args: readonly string[]) => Promise<string>,
): Promise<void> {
  const capabilities: Readonly<Record<string, readonly string[]>> = {
    'mon.': ['mon', 'allow *'],
    'client.admin': ['mon', 'allow *', 'osd', 'allow *'],
    'client.rgw': ['mon', 'allow rw', 'osd', 'allow rwx'],
    'osd.0': ['mon', 'allow profile osd', 'osd', 'allow *'],
  };
  const keyring = join(folder, 'keyring');
  await writeFile(keyring, '');
  for (const [name, [first = '', allowed = '', ...more]] of Object.entries(capabilities)) {
    const caps = ['--cap', first, allowed, ...(more.length > 0 ? ['--cap', ...more] : [])];
    await ceph('ceph-authtool', keyring, '--gen-key', '-n', name, ...caps);
  }
}

/** Names as in Ceph's configuration reference; one of everything, nothing outside of the folder and the loopback. */
function configuration(
  options: CephClusterOptions & { fsid: string; monPort: number; gatewayPort: number },
): string {
  const { folder } = options;
  const settings: Readonly<Record<string, string | number | boolean>> = {
    fsid: options.fsid,
    mon_initial_members: 'a',
    mon_host: `[v2:127.0.0.1:${options.monPort}]`,
    public_addr: '127.0.0.1',
    cluster_addr: '127.0.0.1',
    public_network: '127.0.0.0/8',
    osd_pool_default_size: 1,
    osd_pool_default_min_size: 1,
    mon_allow_pool_size_one: true,
    osd_pool_default_pg_num: 4,
    osd_pool_default_pgp_num: 4,
    osd_pool_default_pg_autoscale_mode: 'off',
    osd_crush_chooseleaf_type: 0,
    mon_max_pg_per_osd: 1000,
    mon_data_avail_crit: 1,
    osd_objectstore: 'bluestore',
    bluestore_block_size: options.capacity ?? 20 * 1024 ** 3,
    // The gateway makes its pools one by one, each a decision of the monitor: half of the start went into waiting for company.
    paxos_propose_interval: 0.02,
    paxos_min_wait: 0.01,
    // What was deleted leaves the disk soon: two hours later no test runs any more.
    rgw_gc_obj_min_wait: 5,
    rgw_gc_processor_period: 10,
    rgw_gc_processor_max_time: 10,
    // Without tcp_nodelay every answer with a body waits 40 ms for the client's acknowledgement of its head.
    rgw_frontends: `beast endpoint=127.0.0.1:${options.gatewayPort} tcp_nodelay=1`,
    debug_rgw: options.requestLog === true ? 1 : 0,
    log_to_stderr: false,
    err_to_stderr: true,
    run_dir: folder,
    log_file: `${folder}/$name.log`,
    pid_file: `${folder}/$name.pid`,
    admin_socket: `${folder}/$name.asok`,
    mon_data: `${folder}/mon`,
    osd_data: `${folder}/osd`,
    keyring: `${folder}/keyring`,
  };
  return `[global]\n${Object.entries(settings)
    .map(([name, value]) => `${name} = ${value}\n`)
    .join('')}`;
}

async function answersHttp(url: string): Promise<boolean> {
  try {
    await (await fetch(url, { signal: AbortSignal.timeout(5_000) })).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
