import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ClientPool, ClientSetup } from '../../../cache-proxy/clients/client-setup.ts';
import { containerdSetup } from '../../../cache-proxy/clients/containerd.ts';
import { podmanSetup } from '../../../cache-proxy/clients/podman.ts';
import { shellScript } from '../../../cache-proxy/clients/shell-script.ts';
import { digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import { createMemoryRegistry } from '../../../oci/memory-registry.ts';
import { startContainerd, type TestContainerd } from '../../helpers/containerd.ts';
import { requirePrograms } from '../../helpers/dockerd.ts';
import { createImage } from '../../helpers/image.ts';
import { run, runOk, startProcess, waitFor } from '../../helpers/process.ts';
import { startRegistryServer, type TestRegistryServer } from '../../helpers/registry-server.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

/** Answers like the registry and remembers what it was asked: over TLS as containerd reaches it, and plainly. */
interface PoolStandIn {
  readonly servers: readonly Server[];
  readonly asked: string[];
  /** What every request is answered with instead; undefined: the truth. */
  refuses: number | undefined;
}

let folder: TempDirectory;
let origin: TestRegistryServer;
let containerd: TestContainerd;
let certificate: string;
const stand: PoolStandIn = { servers: [], asked: [], refuses: undefined };
let pools: { secure: ClientPool; plain: ClientPool };

beforeAll(async () => {
  await requirePrograms(['openssl', 'podman', 'sh']);
  folder = await createTempDirectory('clients');
  const registry = createMemoryRegistry();
  const image = await createImage(
    [[{ type: 'file', path: 'hello', mode: 0o644, content: Buffer.from('hello'), uid: 0, gid: 0 }]],
    { Cmd: ['/hello'] },
  );
  for (const repository of ['team/app', 'library/tool']) {
    for (const blob of [image.config, ...image.layers])
      await registry.putBlob(repository, digestOf(blob), blob);
    await registry.putManifest(repository, '1', image.manifest, mediaTypes.ociManifest);
  }
  origin = await startRegistryServer(registry);
  const files = ['-keyout', join(folder.path, 'key.pem'), '-out', join(folder.path, 'cert.pem')];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const subject = ['-subj', '/CN=pool', '-addext', 'subjectAltName=IP:127.0.0.1'];
  await runOk('openssl', ['req', '-x509', ...kind, ...subject, ...files]);
  certificate = await readFile(join(folder.path, 'cert.pem'), 'utf8');
  const tls = { cert: certificate, key: await readFile(join(folder.path, 'key.pem')) };
  const secure = await listen(createTlsServer(tls, answer));
  const plain = await listen(createServer(answer));
  pools = {
    secure: clientsOf(`https://127.0.0.1:${secure}`, certificate),
    plain: clientsOf(`http://127.0.0.1:${plain}`),
  };
  containerd = await startContainerd();
});

afterAll(async () => {
  await containerd?.stop();
  for (const server of stand.servers) {
    server.closeAllConnections();
    server.close();
  }
  await origin?.close();
  await folder?.remove();
});

beforeEach(() => {
  stand.asked.length = 0;
  stand.refuses = undefined;
});

function answer(request: IncomingMessage, response: ServerResponse): void {
  const { url = '' } = request;
  stand.asked.push(url);
  if (stand.refuses !== undefined) {
    response.writeHead(stand.refuses).end();
    return;
  }
  request.url = url.replace('/v2/hub.test/', '/v2/');
  origin.http.app.server.emit('request', request, response);
}

async function listen(server: Server): Promise<number> {
  (stand.servers as Server[]).push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function clientsOf(endpoint: string, ca?: string): ClientPool {
  return {
    name: 'hz1',
    endpoint,
    host: new URL(endpoint).host,
    plain: endpoint.startsWith('http:'),
    registries: [
      { host: `127.0.0.1:${origin.port}`, server: origin.url, kind: 'origin' },
      { host: 'hub.test', server: 'https://hub.test', kind: 'upstream' },
    ],
    ...(ca === undefined ? {} : { ca }),
    p2p: 'none',
  };
}

async function write({ files }: ClientSetup, root: string): Promise<void> {
  for (const { path, content } of files) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
}

const manifests = (): string[] => stand.asked.filter((url) => url.includes('/manifests/'));

describe('containerd with the hosts.toml files of a pool', () => {
  let hosts: string;

  beforeAll(async () => {
    const root = join(folder.path, 'containerd-node');
    await write(containerdSetup(pools.secure), root);
    hosts = join(root, 'etc/containerd/certs.d');
  });

  it('pulls images of the origin through the pool, over TLS by its own certificates, and says which registry it means', async () => {
    const { code, stderr } = await containerd.pull(`127.0.0.1:${origin.port}/team/app:1`, hosts);

    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(manifests()[0]).toBe(`/v2/team/app/manifests/1?ns=127.0.0.1%3A${origin.port}`);
    expect(stand.asked.some((url) => url.includes('/blobs/'))).toBe(true);
  });

  it('pulls images that are called by the pool’s own name', async () => {
    const { code, stderr } = await containerd.pull(`${pools.secure.host}/team/app:1`, hosts);

    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(manifests()[0]).toBe('/v2/team/app/manifests/1');
  });

  it('pulls images of an upstream through the pool', async () => {
    const { code } = await containerd.pull('hub.test/library/tool:1', hosts);

    expect(code).toBe(0);
    expect(manifests()[0]).toBe('/v2/library/tool/manifests/1?ns=hub.test');
  });

  it.each([401, 503])('pulls from the origin itself while the pool answers %i', async (status) => {
    stand.refuses = status;

    const { code, stderr } = await containerd.pull(`127.0.0.1:${origin.port}/team/app:1`, hosts);

    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(manifests()).not.toEqual([]);
  });
});

describe('Podman with the drop-in of a pool', () => {
  let env: Record<string, string>;
  let podman: (...args: string[]) => ReturnType<typeof run>;

  beforeAll(async () => {
    const setup = podmanSetup(pools.plain);
    await write(setup, join(folder.path, 'podman-node'));
    env = {
      CONTAINERS_REGISTRIES_CONF: join(folder.path, 'podman-node', setup.files[0]?.path ?? ''),
      REGISTRY_AUTH_FILE: join(folder.path, 'auth.json'),
    };
    await writeFile(join(folder.path, 'auth.json'), '{}');
    const places = ['root', 'runroot', 'tmpdir'].map((name) => `--${name}=${join(folder.path, 'p', name)}`);
    podman = (...args) => run('podman', [...places, '--storage-driver=vfs', ...args], { env });
  });

  it('takes the pool for a mirror of every registry', async () => {
    const { stdout } = await podman('info', '--format=json');

    const { registries } = JSON.parse(stdout) as {
      registries: Record<string, { Mirrors: { Location: string }[] }>;
    };
    const mirrors = Object.entries(registries)
      .filter(([name]) => name !== 'search' && name !== pools.plain.host)
      .map(([name, { Mirrors }]) => [name, Mirrors.map(({ Location }) => Location)]);
    expect(Object.fromEntries(mirrors)).toEqual({
      [`127.0.0.1:${origin.port}`]: [pools.plain.host],
      'hub.test': [`${pools.plain.host}/hub.test`],
    });
  });

  it('pulls images of the origin through the pool, and of an upstream by its name in the path', async () => {
    const own = await podman('pull', `127.0.0.1:${origin.port}/team/app:1`);
    const upstream = await podman('pull', 'hub.test/library/tool:1');
    const byName = await podman('pull', `${pools.plain.host}/team/app:1`);

    expect([own.code, upstream.code, byName.code], own.stderr + upstream.stderr).toEqual([0, 0, 0]);
    expect(manifests()).toEqual(
      expect.arrayContaining(['/v2/team/app/manifests/1', '/v2/hub.test/library/tool/manifests/1']),
    );
  });

  it('pulls from the origin itself while the pool refuses', async () => {
    stand.refuses = 401;

    const { code } = await podman('pull', `127.0.0.1:${origin.port}/team/app:1`);

    expect(code).toBe(0);
    expect(stand.asked).not.toEqual([]);
  });
});

describe('the script for nodes without Brickyard', () => {
  const hosts = 'etc/containerd/certs.d/hub.test/hosts.toml';
  const other = '/etc/containers/registries.conf.d/900-brickyard-pool-hz1.conf';
  let root: string;
  let node = 0;

  const script = (verb: string): Promise<string> =>
    runOk('sh', ['-s', verb], { input: shellScript(pools.secure), env: { ROOT: root } });

  beforeEach(async () => {
    root = join(folder.path, `node-${++node}`);
    for (const name of ['containerd', 'containers']) {
      await mkdir(join(root, 'etc', name), { recursive: true });
    }
  });

  it('writes the same files as --install, and removes them', async () => {
    const said = await script('install');
    const again = await script('install');
    const files = [...containerdSetup(pools.secure).files, ...podmanSetup(pools.secure).files];
    for (const { path, content } of files) expect(await readFile(join(root, path), 'utf8')).toBe(content);
    await script('remove');

    expect(said.split('\n').filter((line) => line.startsWith('written: '))).toHaveLength(files.length);
    expect(again).toBe('');
    // Docker is not on this node.
    expect(said).not.toContain('/etc/docker');
    expect(await runOk('find', [root, '-type', 'f'])).toBe('');
  });

  it('puts back what it replaced, also when it ran with another configuration in between', async () => {
    await mkdir(dirname(join(root, hosts)), { recursive: true });
    await writeFile(join(root, hosts), '# mine\n');
    await script('install');
    const moved = { ...pools.secure, endpoint: 'https://moved.test', host: 'moved.test' };
    await runOk('sh', ['-s', 'install'], { input: shellScript(moved), env: { ROOT: root } });
    expect(await readFile(join(root, hosts), 'utf8')).toContain('https://moved.test');

    await script('remove');

    expect(await readFile(join(root, hosts), 'utf8')).toBe('# mine\n');
  });

  it('keeps the files as long as it runs, as the DaemonSet has it, and removes them when it is told to end', async () => {
    const file = join(root, 'pool.sh');
    await writeFile(file, shellScript(pools.secure));
    const running = await startProcess('sh', [file, 'run'], { env: { ROOT: root } });
    const exists = async (path: string) => (await run('test', ['-e', join(root, path)])).code === 0;
    await waitFor(() => exists(other), { what: 'the last file' });

    await running.stop('SIGTERM', 30_000);

    expect(running.output()).toContain(`removed: ${join(root, hosts)}`);
    expect(await exists(hosts)).toBe(false);
  });

  it('leaves alone what somebody put around the pool’s own', async () => {
    await script('install');
    const wrapped = `[host."http://127.0.0.1:30020"]\n[host."${pools.secure.endpoint}"]\n`;
    await writeFile(join(root, hosts), wrapped);
    await script('install');
    await script('remove');

    expect(await readFile(join(root, hosts), 'utf8')).toBe(wrapped);
    expect(await run('test', ['-e', join(root, other)])).toMatchObject({ code: 1 });
  });
});
