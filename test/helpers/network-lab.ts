import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { requirePrograms } from './dockerd.ts';
import { type RunningProcess, type RunOptions, type RunResult, run, runOk, startProcess } from './process.ts';

export interface NetworkLabOptions {
  /** Machines beside the pool's proxy. */
  readonly nodes: number;
  /** The link between the origin and the pool, either way, in Mbit/s. */
  readonly linkMbps: number;
  /** What one node takes from its network, in Mbit/s. */
  readonly nodeMbps: number;
}

/** A machine of the lab: a network namespace with a loopback of its own. It shares disk, memory and cores with all others. */
export interface Place {
  readonly name: string;
  /** Where the others reach it. */
  readonly address: string;
  run(command: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  runOk(command: string, args: readonly string[], options?: RunOptions): Promise<string>;
  /** Its `pid` is the program's own. It ends with this process, however that ends. */
  start(
    command: string,
    args: readonly string[],
    options?: Pick<RunOptions, 'cwd' | 'env'>,
  ): Promise<RunningProcess>;
  /** The same as an argument vector, for who starts it by himself. */
  argv(command: string, args: readonly string[]): [string, ...string[]];
}

/** What left the origin for the pool since the lab began. */
export interface LinkCount {
  /** Bytes of Ethernet frames. */
  readonly wire: number;
  /** Bytes within TCP: bodies and HTTP's own headers. */
  readonly payload: number;
}

/**
 * Machines of a pool as network namespaces: `origin` — link — `pool` — bridge — `nodes`. The pool's machine is also the nodes' router, so that they
 * reach the origin over the same link without a proxy.
 */
export interface NetworkLab extends AsyncDisposable {
  readonly origin: Place;
  /** `address` is that of the nodes' side. */
  readonly pool: Place;
  readonly nodes: readonly Place[];
  /** A folder in memory, gone with the lab: on one disk of the machine all nodes' disks would be one. */
  readonly memory: string;
  linkCount(): Promise<LinkCount>;
  /** Kills what still runs in the lab, and removes it; a second call is no error. */
  close(): Promise<void>;
}

/** Payload of a full frame over its bytes: Ethernet 14, IP 20, TCP with timestamps 32. What the link's floor is multiplied with for TCP/IP. */
export const frameOverhead = 1514 / (1514 - 66);

const prefix = 'bylab';
const memoryRoot = '/dev/shm';
// 198.18.0.0/15 is for tests between devices (RFC 2544). Each lab has its own namespaces, so that all may use the same.
const originAddress = '198.18.0.1';
const wanAddress = '198.18.0.2';
const poolAddress = '198.18.1.1';
const nodeNetwork = '198.18.1.0/24';

/** Errors: where this is not root on Linux with `iproute2`; nothing is left then. */
export async function createNetworkLab(options: NetworkLabOptions): Promise<NetworkLab> {
  await requirePrograms(['ip', 'tc', 'nsenter', 'setpriv']);
  await sweepNetworkLabs();
  const id = `${prefix}${process.pid}x${randomBytes(2).toString('hex')}`;
  const origin = place(`${id}-origin`, originAddress);
  const pool = place(`${id}-pool`, poolAddress);
  const nodes = Array.from({ length: options.nodes }, (_, index) =>
    place(`${id}-n${index}`, `198.18.1.${index + 10}`),
  );
  const all = [origin, pool, ...nodes];
  const memory = join(memoryRoot, id);
  const close = async (): Promise<void> => {
    for (const { name } of all) await removeNamespace(name);
    await rm(memory, { recursive: true, force: true });
  };
  try {
    await mkdir(memory);
    for (const { name } of all) {
      await runOk('ip', ['netns', 'add', name]);
      await runOk('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    }
    await connectOrigin(origin, pool, options.linkMbps);
    await createNodeNetwork(pool);
    for (const [index, node] of nodes.entries()) await connectNode(pool, node, `n${index}`, options.nodeMbps);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    origin,
    pool,
    nodes,
    memory,
    linkCount: () => linkCount(origin),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Removes labs whose process is gone; those of a crash, say. */
export async function sweepNetworkLabs(): Promise<void> {
  const isDead = (name: string): boolean => {
    const pid = /^bylab(\d+)x[0-9a-f]{4}(?:-|$)/.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  const namespaces = await readdir('/run/netns').catch(() => []);
  for (const name of namespaces.filter(isDead)) await removeNamespace(name);
  for (const name of (await readdir(memoryRoot)).filter(isDead)) {
    await rm(join(memoryRoot, name), { recursive: true, force: true });
  }
}

function place(name: string, address: string): Place {
  // `nsenter` and `setpriv` become the program, so that its pid is theirs. PDEATHSIG: should this process be killed, it goes too.
  const wrapped = (command: string, args: readonly string[]): string[] => [
    `--net=/run/netns/${name}`,
    'setpriv',
    '--pdeathsig=TERM',
    command,
    ...args,
  ];
  return {
    name,
    address,
    run: (command, args, options) => run('nsenter', wrapped(command, args), options),
    runOk: (command, args, options) => runOk('nsenter', wrapped(command, args), options),
    start: (command, args, options) => startProcess('nsenter', wrapped(command, args), options),
    argv: (command, args) => ['nsenter', ...wrapped(command, args)],
  };
}

async function connectOrigin(origin: Place, pool: Place, mbps: number): Promise<void> {
  const veth = ['type', 'veth', 'peer', 'name', 'wan', 'netns', pool.name];
  await runOk('ip', ['link', 'add', 'name', 'wan', 'netns', origin.name, ...veth]);
  for (const [{ name }, address] of [[origin, originAddress] as const, [pool, wanAddress] as const]) {
    await runOk('ip', ['-n', name, 'address', 'add', `${address}/30`, 'dev', 'wan']);
    // One frame a segment, as on a real wire: the limit counts headers, and 64 KB "packets" would have next to none.
    await runOk('ip', ['-n', name, 'link', 'set', 'wan', 'gso_max_segs', '1', 'up']);
    await limit(name, 'wan', { mbps, burst: '16k', queue: 200 });
  }
  await runOk('ip', ['-n', origin.name, 'route', 'add', nodeNetwork, 'via', wanAddress]);
  await pool.runOk('sh', ['-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward']);
}

async function createNodeNetwork(pool: Place): Promise<void> {
  await runOk('ip', ['-n', pool.name, 'link', 'add', 'lan', 'type', 'bridge']);
  await runOk('ip', ['-n', pool.name, 'address', 'add', `${poolAddress}/24`, 'dev', 'lan']);
  await runOk('ip', ['-n', pool.name, 'link', 'set', 'lan', 'up']);
}

async function connectNode(pool: Place, node: Place, port: string, mbps: number): Promise<void> {
  const veth = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', node.name];
  await runOk('ip', ['link', 'add', 'name', port, 'netns', pool.name, ...veth]);
  await runOk('ip', ['-n', pool.name, 'link', 'set', port, 'master', 'lan', 'up']);
  await runOk('ip', ['-n', node.name, 'address', 'add', `${node.address}/24`, 'dev', 'eth0']);
  await runOk('ip', ['-n', node.name, 'link', 'set', 'eth0', 'up']);
  await runOk('ip', ['-n', node.name, 'route', 'add', 'default', 'via', poolAddress]);
  await limit(pool.name, port, { mbps, burst: '256k', queue: 1000 });
}

/** What may leave `device` in a second. The queue is short: a long one would be the delay of a bad router, not of the link. */
async function limit(
  namespace: string,
  device: string,
  { mbps, burst, queue }: { mbps: number; burst: string; queue: number },
): Promise<void> {
  const tc = (...args: string[]): Promise<string> => runOk('tc', ['-n', namespace, ...args]);
  await tc('qdisc', 'add', 'dev', device, 'root', 'handle', '1:', 'htb', 'default', '1');
  const rate = ['rate', `${mbps}mbit`, 'burst', burst, 'cburst', burst, 'quantum', '60000'];
  await tc('class', 'add', 'dev', device, 'parent', '1:', 'classid', '1:1', 'htb', ...rate);
  await tc('qdisc', 'add', 'dev', device, 'parent', '1:1', 'pfifo', 'limit', String(queue));
}

async function linkCount(origin: Place): Promise<LinkCount> {
  const text = await runOk('ip', ['-n', origin.name, '-json', '-stats', 'link', 'show', 'wan']);
  const [link] = JSON.parse(text) as { stats64: { tx: { bytes: number; packets: number } } }[];
  if (link === undefined) throw new Error(`${origin.name} has no link`);
  const { bytes, packets } = link.stats64.tx;
  return { wire: bytes, payload: bytes - packets * 66 };
}

/** With what runs in it: a namespace lives as long as one of its processes. */
async function removeNamespace(name: string): Promise<void> {
  const inside = await run('ip', ['netns', 'pids', name]);
  for (const pid of inside.stdout.split('\n').filter((line) => /^\d+$/.test(line))) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
  await run('ip', ['netns', 'delete', name]);
}
