import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { findClientCertificates } from '../../cache-proxy/clients/client-certificates.ts';
import { clientPool } from '../../cache-proxy/clients/client-pool.ts';
import type {
  ClientFile,
  ClientPool,
  ClientSetup,
  NodeClient,
} from '../../cache-proxy/clients/client-setup.ts';
import { containerdSetup } from '../../cache-proxy/clients/containerd.ts';
import { dockerSetup } from '../../cache-proxy/clients/docker.ts';
import { dragonflyFiles, dragonflyNotes } from '../../cache-proxy/clients/dragonfly.ts';
import { type InstallReport, install, uninstall } from '../../cache-proxy/clients/install.ts';
import { defaultImage, kubernetesManifest } from '../../cache-proxy/clients/kubernetes.ts';
import { podmanSetup } from '../../cache-proxy/clients/podman.ts';
import { shellScript } from '../../cache-proxy/clients/shell-script.ts';
import { spegelFiles, spegelNotes } from '../../cache-proxy/clients/spegel.ts';
import type { Pool } from '../../cache-proxy/pools/pool.ts';
import { UserError } from '../../core/user-error.ts';
import { clientFileText, clientSetupText, comment } from '../client-files-text.ts';
import type { CliContext } from '../context.ts';
import { loadPool } from '../load-pool.ts';
import { toJson } from '../text.ts';

interface ClientsFlags {
  readonly pools?: string;
  readonly for?: readonly string[];
  readonly p2p?: string | true;
  readonly scheduler?: readonly string[];
  readonly ca?: string;
  readonly image?: string;
  readonly namespace: string;
  readonly install?: boolean;
  readonly undo?: boolean;
  readonly root: string;
  readonly json?: boolean;
}

const setupOf: Readonly<Record<NodeClient, (pool: ClientPool) => ClientSetup>> = {
  containerd: containerdSetup,
  podman: podmanSetup,
  docker: dockerSetup,
};

/** By which folder a client is known to be on a machine. */
const folderOf: Readonly<Record<NodeClient, string>> = {
  containerd: 'etc/containerd',
  podman: 'etc/containers',
  docker: 'etc/docker',
};

const nodeClients = Object.keys(setupOf) as readonly NodeClient[];
const wholeTexts = ['kubernetes', 'shell'] as const;

/** `pool clients NAME`: what the nodes of a pool have to know so that they pull through it. */
export function registerPoolClients(pool: Command, context: CliContext): void {
  pool
    .command('clients [name]')
    .description('print what makes nodes pull through a pool, or write it on this machine (--install)')
    .option('--pools <file>', 'the pools (default: pools.yaml)')
    .option('--for <client>', `${[...nodeClients, ...wholeTexts].join(', ')}; may be repeated`, collect)
    .option('--p2p [engine]', 'print configurations of dragonfly or spegel with the pool as their registry')
    .option('--scheduler <host:port>', "a Dragonfly scheduler (default: the pool's host, 8002)", collect)
    .option(
      '--ca <file>',
      "certificates that the pool's is checked with, where the system does not know them",
    )
    .option(
      '--image <ref>',
      'image with a shell for the DaemonSet (default: baseimages/base:12 of the origin)',
    )
    .option('--namespace <name>', 'of the DaemonSet', 'kube-system')
    .option('--install', 'write the files; what they replace is kept')
    .option('--undo', 'take back what --install wrote, and put back what it replaced')
    .option('--root <dir>', "another root than this machine's, e.g. a mounted node", '/')
    .option('--json', 'print JSON')
    .action((name: string | undefined, flags: ClientsFlags) => poolClients(context, name, flags));
}

async function poolClients(
  context: CliContext,
  name: string | undefined,
  flags: ClientsFlags,
): Promise<void> {
  const wanted = checkClients(flags.for);
  if (flags.undo === true) return undo(context, name, flags, wanted);
  const pool = loadPool(context, { name, file: flags.pools });
  const ca = flags.ca === undefined ? undefined : resolve(context.cwd, flags.ca);
  const { certificates, missing } = await findClientCertificates(pool, ca);
  for (const text of missing) context.stderr(`note: ${text}\n`);
  const clients = clientPool(pool, certificates);
  if (flags.install === true) return installFiles(context, clients, flags, wanted);
  if (flags.p2p !== undefined) return printPeers(context, pool, clients, flags);
  print(context, clients, flags, wanted);
}

function print(
  context: CliContext,
  pool: ClientPool,
  flags: ClientsFlags,
  wanted: readonly string[] | undefined,
): void {
  const setups = nodeClients
    .filter((client) => wanted?.includes(client) ?? true)
    .map((client) => setupOf[client](pool));
  const kubernetes = (): string =>
    kubernetesManifest(pool, { image: flags.image ?? defaultImage(pool), namespace: flags.namespace });
  if (flags.json === true) {
    const { name, endpoint, registries } = pool;
    const texts = {
      ...((wanted?.includes('shell') ?? true) ? { shell: shellScript(pool) } : {}),
      ...((wanted?.includes('kubernetes') ?? true) ? { kubernetes: kubernetes() } : {}),
    };
    return context.stdout(toJson({ pool: name, endpoint, registries, clients: setups, ...texts }));
  }
  // By themselves they are for a pipe: | kubectl apply -f -, | ssh node sh -s install
  if (wanted?.length === 1 && wanted[0] === 'shell') return context.stdout(shellScript(pool));
  if (wanted?.length === 1 && wanted[0] === 'kubernetes') return context.stdout(kubernetes());
  const command = `brickyard pool clients ${pool.name}`;
  const more = [
    `# On a node: ${command} --install; back: ${command} --undo; does it work? brickyard doctor --pool ${pool.name}`,
    `# Nodes without Brickyard: ${command} --for shell | ssh root@node sh -s install (back: sh -s remove)`,
    `# Kubernetes: ${command} --for kubernetes | kubectl apply -f - (back: kubectl delete -f -)`,
    '',
  ].join('\n');
  context.stdout(`${setups.map(clientSetupText).join('\n')}\n${wanted === undefined ? more : ''}`);
  if (wanted?.includes('shell') === true) context.stdout(shellScript(pool));
  if (wanted?.includes('kubernetes') === true) context.stdout(kubernetes());
}

function printPeers(context: CliContext, pool: Pool, clients: ClientPool, flags: ClientsFlags): void {
  const engine = flags.p2p === true ? clients.p2p : flags.p2p;
  if (engine !== 'dragonfly' && engine !== 'spegel') {
    throw new UserError('say which: --p2p dragonfly or --p2p spegel, or p2p.engine in pools.yaml', {
      exitCode: 2,
    });
  }
  let files: readonly ClientFile[];
  let notes: readonly string[];
  if (engine === 'dragonfly') {
    const schedulers = flags.scheduler ?? [`${new URL(clients.endpoint).hostname}:8002`];
    checkSchedulers(schedulers);
    const options = { schedulers, bitsPerSecond: pool.link.down };
    files = dragonflyFiles(clients, options);
    notes = dragonflyNotes(clients, options);
  } else {
    files = spegelFiles(clients);
    notes = spegelNotes(clients);
  }
  context.stdout(
    flags.json === true
      ? toJson({ pool: clients.name, engine, files, notes })
      : `${notes.flatMap(comment).join('\n')}\n\n${files.map(clientFileText).join('\n')}`,
  );
}

function checkSchedulers(schedulers: readonly string[]): void {
  for (const each of schedulers) {
    const url = `http://${each}`;
    if (!/:\d+$/.test(each) || !URL.canParse(url) || new URL(url).pathname !== '/') {
      throw new UserError(`--scheduler ${each} is no host and port, such as 10.0.0.5:8002`, { exitCode: 2 });
    }
  }
}

async function installFiles(
  context: CliContext,
  pool: ClientPool,
  flags: ClientsFlags,
  wanted: readonly string[] | undefined,
): Promise<void> {
  const root = resolve(context.cwd, flags.root);
  const clients = clientsToInstall(root, wanted);
  const setups = clients.map((client) => setupOf[client](pool));
  const report = await install(root, pool, setups);
  context.stderr(setups.flatMap(({ notes }) => notes.map((note) => `note: ${note}\n`)).join(''));
  tell(context, report, flags, `nothing to do: ${clients.join(', ')} know the pool ${pool.name}`);
}

function clientsToInstall(root: string, wanted: readonly string[] | undefined): readonly NodeClient[] {
  if (wanted?.some((client) => !isNodeClient(client)) === true) {
    throw new UserError('--install is for containerd, podman and docker of this machine', { exitCode: 2 });
  }
  if (wanted !== undefined) return wanted.filter(isNodeClient);
  const here = nodeClients.filter((client) => existsSync(join(root, folderOf[client])));
  if (here.length > 0) return here;
  const folders = Object.values(folderOf).map((folder) => join(root, folder));
  throw new UserError(
    `no container engine is known here by its folder (${folders.join(', ')}); say --for ${nodeClients.join('|')}`,
  );
}

async function undo(
  context: CliContext,
  name: string | undefined,
  flags: ClientsFlags,
  wanted: readonly string[] | undefined,
): Promise<void> {
  // The node need not have pools.yaml for this, nor the pool exist any more.
  if (name === undefined) throw new UserError('say which pool: pool clients NAME --undo', { exitCode: 2 });
  if (!/^[a-z0-9][a-z0-9-]*$/.test(name)) {
    throw new UserError(`"${name}" is no name of a pool: lower-case letters, digits and dashes`, {
      exitCode: 2,
    });
  }
  const root = resolve(context.cwd, flags.root);
  const report = await uninstall(root, name, wanted?.filter(isNodeClient));
  if (report === undefined) {
    if (flags.json === true) context.stdout(toJson({ done: [], left: [] }));
    else context.stderr(`nothing of the pool ${name} is installed here\n`);
    return;
  }
  tell(context, report, flags, 'nothing to do');
}

function tell(context: CliContext, report: InstallReport, flags: ClientsFlags, idle: string): void {
  const { done, left } = report;
  if (flags.json === true) context.stdout(toJson(report));
  else if (done.length > 0) context.stdout(`${done.join('\n')}\n`);
  else context.stderr(`${idle}\n`);
  if (left.length === 0) return;
  throw new UserError(
    `left alone, because somebody changed it since: ${left.join(', ')}; what was there before is kept, see /var/lib/brickyard/clients`,
  );
}

function checkClients(wanted: readonly string[] | undefined): readonly string[] | undefined {
  for (const client of wanted ?? []) {
    if (isNodeClient(client) || wholeTexts.some((text) => text === client)) continue;
    throw new UserError(`--for ${client}: there are ${[...nodeClients, ...wholeTexts].join(', ')}`, {
      exitCode: 2,
    });
  }
  return wanted;
}

function isNodeClient(text: string): text is NodeClient {
  return nodeClients.some((client) => client === text);
}

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), ...value.split(',')];
}
