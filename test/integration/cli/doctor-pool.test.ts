import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { poolHeader } from '../../../cache-proxy/pools/pool-header.ts';
import type { Finding } from '../../../cli/commands/doctor.ts';
import { type AccountOrigin, accountPassword, startAccountOrigin } from '../../helpers/account-origin.ts';
import { brickyard } from '../../helpers/brickyard-command.ts';
import { pushContent } from '../../helpers/content.ts';
import { freePort } from '../../helpers/free-port.ts';
import { runOk } from '../../helpers/process.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

let home: TempDirectory;
/** A registry that asks who one is, as a pool does. */
let registry: AccountOrigin;
let secure: Server;
let secureUrl: string;

beforeAll(async () => {
  home = await createTempDirectory('doctor');
  registry = await startAccountOrigin();
  await pushContent(registry.registry, { 'team/app': { manifests: { image: {} }, tags: { v1: 'image' } } });
  const files = ['-keyout', join(home.path, 'key.pem'), '-out', join(home.path, 'ca.pem')];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const subject = ['-subj', '/CN=pool', '-addext', 'subjectAltName=IP:127.0.0.1'];
  await runOk('openssl', ['req', '-x509', ...kind, ...subject, ...files]);
  const [key, cert] = await Promise.all(['key.pem', 'ca.pem'].map((name) => readFile(join(home.path, name))));
  secure = createServer({ key, cert }, (_, response) => response.setHeader(poolHeader, 'hz1').end('{}'));
  await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
  secureUrl = `https://127.0.0.1:${(secure.address() as AddressInfo).port}`;
});

afterAll(async () => {
  secure?.closeAllConnections();
  secure?.close();
  await registry?.close();
  await home?.remove();
});

/** What `doctor --pool` found, and how it ended; `user` is signed in at the pool. */
async function doctor(
  args: readonly string[],
  user?: string,
): Promise<{ code: number; found: readonly Finding[] }> {
  const auth = join(home.path, 'auth.json');
  const credential = Buffer.from(`${user}:${accountPassword}`).toString('base64');
  const auths = user === undefined ? {} : { [new URL(registry.url).host]: { auth: credential } };
  await writeFile(auth, JSON.stringify({ auths }));
  const { code, stdout } = await brickyard(['doctor', '--json', ...args], {
    home: home.path,
    env: { REGISTRY_AUTH_FILE: auth },
  });
  return { code, found: stdout === '' ? [] : (JSON.parse(stdout) as Finding[]) };
}

const about = (found: readonly Finding[], what: string): Finding | undefined =>
  found.findLast((finding) => finding.what === what);

describe('doctor --pool', () => {
  const image = ['--image', 'registry.test/team/app:v1'];

  it('says that an image comes through the pool for the account of this machine', async () => {
    const { code, found } = await doctor(['--pool', registry.url, ...image], 'alice');

    expect(found.filter(({ state }) => state === 'bad')).toEqual([]);
    expect(about(found, 'image')).toMatchObject({ state: 'ok', text: 'team/app:v1 comes through the pool' });
    expect(code).toBe(0);
  });

  it.each([
    ['without an account', undefined, 'podman login'],
    ['for an account that may not', 'bob', 'for the account "bob"'],
  ])('says that the pull would silently go past the pool %s', async (_, user, text) => {
    const { code, found } = await doctor(['--pool', registry.url, ...image], user);

    expect(about(found, 'image')).toMatchObject({ state: 'bad', text: expect.stringContaining(text) });
    expect(about(found, 'image')?.text).toContain('pull from the registry itself and say nothing');
    expect(code).toBe(1);
  });

  it('says that an image is not the pool’s', async () => {
    const args = ['--pool', registry.url, '--image', 'registry.test/team/app:none'];

    expect(about((await doctor(args, 'alice')).found, 'image')?.text).toContain('knows no team/app:none');
  });

  it('notes an answer that came through no pool', async () => {
    const { found } = await doctor(['--pool', registry.url]);

    expect(found).toContainEqual(
      expect.objectContaining({ what: 'pool', state: 'note', text: expect.stringContaining(poolHeader) }),
    );
  });

  it('tells a certificate that is not believed from a pool that is away', async () => {
    const strange = await doctor(['--pool', secureUrl]);
    const known = await doctor(['--pool', secureUrl, '--ca', 'ca.pem']);
    const away = await doctor(['--pool', `http://127.0.0.1:${await freePort()}`]);

    expect(about(strange.found, 'pool')).toMatchObject({
      state: 'bad',
      text: expect.stringContaining('--ca'),
    });
    expect(known.found.filter(({ state }) => state === 'bad')).toEqual([]);
    expect(about(away.found, 'pool')).toMatchObject({
      state: 'bad',
      text: expect.stringContaining('ECONNREFUSED'),
    });
  });

  it('knows a pool by what is installed on the machine, and says when another one answers', async () => {
    const pools = `pools: [{name: other, listen: "127.0.0.1:1", endpoint: "${secureUrl}", origin: {urls: ["https://registry.test"]}, tls: {cert: ca.pem, key: key.pem}}]`;
    const node = join(home.path, 'node');
    await writeFile(join(home.path, 'other.yaml'), pools);
    const install = ['--install', '--for', 'containerd', '--root', node];
    await brickyard(['pool', 'clients', 'other', '--pools', 'other.yaml', ...install], { home: home.path });

    const { found } = await doctor(['--pool', 'other', '--root', node]);

    // Its certificates came with the installation.
    expect(about(found, 'pool')).toMatchObject({
      state: 'bad',
      text: 'this is the pool "hz1", not "other"',
    });
    expect(about(found, 'containerd')).toMatchObject({ state: 'ok' });
  });

  it('does not pull where the pool’s statistics cannot be read, and says how', async () => {
    const args = ['--pool', registry.url, ...image, '--pull', 'podman'];
    const { found } = await doctor([...args, '--agent', `127.0.0.1:${await freePort()}`], 'alice');

    expect(about(found, 'podman pull')).toMatchObject({
      state: 'note',
      text: expect.stringContaining('nothing was pulled'),
    });
  });

  it.each([
    ['an unknown name', ['--pool', 'nowhere'], 1],
    ['a program that there is not', ['--pool', 'http://127.0.0.1:1', '--pull', 'rkt'], 2],
  ])('refuses %s', async (_, args, code) => {
    expect((await doctor(args)).code).toBe(code);
  });
});
