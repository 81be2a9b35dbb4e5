import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { NodeClient } from './client-setup.ts';
import { dragonflyMirror } from './containerd.ts';
import type { ClientFinding } from './finding.ts';
import { readPlainFile } from './plain-file.ts';

/** What a node should have been told. */
export interface NodeFacts {
  /** The node's root. */
  readonly root: string;
  readonly pool: string;
  readonly endpoint: string;
  /** What images are called by that should come through the pool. */
  readonly registries: readonly string[];
}

/**
 * Whether the files of this machine's container engines lead to the pool, and to nothing before it. Engines that are not here are not spoken of. Errors:
 * UserError for a file that cannot be read.
 */
export async function checkNode(facts: NodeFacts): Promise<ClientFinding[]> {
  const here: ClientFinding[] = [
    ...(await checkContainerd(facts)),
    ...(await checkPodman(facts)),
    ...(await checkDocker(facts)),
  ];
  if (here.length > 0) return here;
  return [
    { what: 'container engine', state: 'note', text: `none is known by its folder in ${facts.root}etc` },
  ];
}

async function checkContainerd(facts: NodeFacts): Promise<ClientFinding[]> {
  const { root, pool, registries } = facts;
  if (!(await isFolder(join(root, 'etc/containerd')))) return [];
  const findings: ClientFinding[] = [];
  const add = (state: ClientFinding['state'], text: string): void => {
    findings.push({ what: 'containerd' satisfies NodeClient, state, text });
  };
  const config = await textOf(join(root, 'etc/containerd/config.toml'));
  const folders = [...(config ?? '').matchAll(/^\s*config_path\s*=\s*["']([^"']*)["']/gm)].map(
    ([, path = '']) => path,
  );
  if (!folders.some((path) => path.split(':').includes('/etc/containerd/certs.d'))) {
    add(
      'note',
      `/etc/containerd/config.toml has no config_path = "/etc/containerd/certs.d": Kubernetes does not see the pool unless an imported file has it (see: brickyard pool clients ${pool} --for containerd)`,
    );
  }
  for (const host of registries) {
    const { state, text } = await checkHosts(facts, host);
    add(state, text);
  }
  return findings;
}

async function checkHosts(
  { root, pool, endpoint }: NodeFacts,
  host: string,
): Promise<Omit<ClientFinding, 'what'>> {
  const folder = '/etc/containerd/certs.d';
  // containerd looks there first (containerd/docs/hosts.md, "Port Handling in Registry Host").
  const shadow = `${folder}/${host.replace(/:(\d+)$/, '_$1_')}/hosts.toml`;
  const file = `${folder}/${host}/hosts.toml`;
  if (shadow !== file && (await textOf(join(root, shadow))) !== undefined) {
    return { state: 'bad', text: `${shadow} is read instead of ${file}: remove it` };
  }
  const text = await textOf(join(root, file));
  if (text === undefined) {
    return {
      state: 'bad',
      text: `${file} is not there, so ${host} is asked itself: brickyard pool clients ${pool} --install`,
    };
  }
  const asked = [...text.matchAll(/^\s*\[\s*host\s*\.\s*(?:"([^"]+)"|'([^']+)')\s*\]/gm)]
    .map(([, double, single]) => (double ?? single ?? '').replace(/\/$/, ''))
    // Dragonfly on the node hands on to the pool what no peer has.
    .filter((url) => url !== dragonflyMirror);
  if (asked[0] === endpoint) {
    const hidden = (await readdir(join(root, folder, host)).catch(() => [])).filter((name) =>
      name.endsWith('.crt'),
    );
    // With a hosts.toml containerd reads the certificates that stand in it, and no others.
    if (hidden.length > 0 && !/^\s*ca\s*=/m.test(text.split(/^\s*\[/m)[0] ?? '')) {
      const files = hidden.map((name) => `${folder}/${host}/${name}`).join(', ');
      return {
        state: 'note',
        text: `asks ${endpoint} for images of ${host}, but no longer believes ${files} when the pool is away: set ca of the origin in pools.yaml and install again`,
      };
    }
    return { state: 'ok', text: `asks ${endpoint} for images of ${host}` };
  }
  const instead = asked[0] === undefined ? `${host} itself` : asked[0];
  return { state: 'bad', text: `${file} makes it ask ${instead}, and not ${endpoint} first` };
}

async function checkPodman({ root, pool, endpoint, registries }: NodeFacts): Promise<ClientFinding[]> {
  if (!(await isFolder(join(root, 'etc/containers')))) return [];
  const what = 'podman' satisfies NodeClient;
  const folder = '/etc/containers/registries.conf.d';
  const names = (await readdir(join(root, folder)).catch(() => []))
    .filter((name) => name.endsWith('.conf'))
    .sort();
  const tables: RegistryTable[] = [];
  for (const name of names) {
    const text = (await textOf(join(root, folder, name))) ?? '';
    tables.push(...registryTables(text).map((table) => ({ ...table, file: `${folder}/${name}` })));
  }
  const { host: poolHost } = new URL(endpoint);
  return registries.map((host): ClientFinding => {
    // The last file that speaks of a prefix wins (containers-registries.conf.d(5)).
    const table = tables.findLast(({ prefix }) => prefix === host);
    const first = table?.mirrors[0];
    if (first === poolHost || first === `${poolHost}/${host}`) {
      return { what, state: 'ok', text: `asks ${endpoint} for images of ${host}` };
    }
    const why =
      table === undefined
        ? `no file in ${folder} names the pool for ${host}, which is asked itself: brickyard pool clients ${pool} --install`
        : `${table.file} makes it ask ${first ?? `${host} itself`}, and not ${endpoint} first`;
    return { what, state: 'bad', text: why };
  });
}

interface RegistryTable {
  readonly prefix: string;
  readonly mirrors: readonly string[];
  readonly file?: string;
}

/** The `[[registry]]` tables of a registries.conf, as far as they are written line by line, which is how everybody writes them. */
function registryTables(text: string): RegistryTable[] {
  const parts = text.split(/^\s*\[\[\s*registry\s*\]\]/m).slice(1);
  return parts.map((part) => {
    const [own = '', ...mirrors] = part.split(/^\s*\[\[\s*registry\s*\.\s*mirror\s*\]\]/m);
    const location = valueOf(own, 'location') ?? '';
    return {
      prefix: valueOf(own, 'prefix') ?? location,
      mirrors: mirrors.map((mirror) => valueOf(mirror, 'location') ?? ''),
    };
  });
}

function valueOf(text: string, key: string): string | undefined {
  const [, double, single] = new RegExp(`^\\s*${key}\\s*=\\s*(?:"([^"]*)"|'([^']*)')`, 'm').exec(text) ?? [];
  return double ?? single;
}

async function checkDocker({ root, endpoint }: NodeFacts): Promise<ClientFinding[]> {
  if (!(await isFolder(join(root, 'etc/docker')))) return [];
  const what = 'docker' satisfies NodeClient;
  const { host, protocol, hostname } = new URL(endpoint);
  const usage = `images are pulled through the pool when they are called ${host}/…`;
  if (protocol === 'https:' || /^(?:localhost|127\.|\[::1\])/.test(hostname)) {
    return [{ what, state: 'note', text: usage }];
  }
  const text = (await textOf(join(root, 'etc/docker/daemon.json'))) ?? '';
  const knows = text.includes(JSON.stringify(host));
  return [
    knows
      ? { what, state: 'note', text: usage }
      : {
          what,
          state: 'bad',
          text: `/etc/docker/daemon.json does not have ${host} in insecure-registries, and the pool speaks plain HTTP`,
        },
  ];
}

async function textOf(path: string): Promise<string | undefined> {
  return (await readPlainFile(path))?.bytes.toString('utf8');
}

async function isFolder(path: string): Promise<boolean> {
  return readdir(path).then(
    () => true,
    () => false,
  );
}
