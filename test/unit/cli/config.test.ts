import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkListenAddress, configSchema, readConfig, serviceName } from '../../../cli/config.ts';
import { isLoopback, parseListenAddress } from '../../../cli/listen-address.ts';
import { listSettings } from '../../../core/config/settings.ts';
import { UserError } from '../../../core/user-error.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

let folder: TempDirectory;
beforeAll(async () => {
  folder = await createTempDirectory('config');
});
afterAll(() => folder.remove());

async function withFile(text: string, env: Record<string, string> = {}) {
  const file = join(folder.path, 'brickyard.yaml');
  await writeFile(file, text);
  return readConfig({ file, env, cwd: '/elsewhere' });
}

function faultsOf(env: Record<string, string>): string {
  try {
    readConfig({ env, cwd: '/nowhere' });
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as UserError).message;
  }
  throw new Error('expected faults');
}

describe('brickyard.yaml', () => {
  it('needs no file: loopback, everything under ./data', () => {
    const config = readConfig({ env: {}, cwd: '/somewhere' });

    expect(config).toMatchObject({
      listen: '127.0.0.1:5000',
      data: '/somewhere/data',
      store: { type: 'filesystem' },
      auth: { rules: [], tokens: { ttl: 900 } },
      builder: { engine: 'auto' },
    });
    expect(config.auth.htpasswd).toBeUndefined();
  });

  it('redirects and hands blobs over to nobody by default, and takes only networks and prefixes that can work', async () => {
    const { redirect, accel } = readConfig({ env: {}, cwd: '/somewhere' }).registry;

    expect(redirect).toEqual({
      mode: 'off',
      networks: [],
      exceptNetworks: [],
      minSize: 0,
      head: true,
      ttl: 1200,
    });
    expect(accel).toEqual({ mode: 'off', prefix: '/_bytes/', ttl: 21_600 });
    const faults = await withFile(
      'registry:\n  redirect: {mode: sometimes, networks: [intranet], ttl: 1}\n  accel: {prefix: /v2/}\n',
    ).catch((error: unknown) => (error as UserError).message);
    expect(faults).toMatch(/brickyard\.yaml:2:\d+.*[\s\S]*"intranet" is no IP address[\s\S]*begins with _/);
    expect(faults).toContain('the configuration has 4 faults');
  });

  it('is frozen through and through', async () => {
    const config = await withFile('auth: {rules: [{repositories: "a/**", users: [x], actions: [pull]}]}');

    expect(Object.isFrozen(config.auth.tokens)).toBe(true);
    expect(Object.isFrozen(config.auth.rules[0]?.users)).toBe(true);
  });

  it('a variable wins over the file, the file over the default', async () => {
    const config = await withFile('listen: 127.0.0.1:1\nprocesses: 3\n', { BRICKYARD_PROCESSES: '4' });

    expect(config).toMatchObject({ listen: '127.0.0.1:1', processes: 4, builder: { concurrency: 1 } });
  });

  it('relative paths count from the file, in variables from the working directory', async () => {
    const config = await withFile('data: images\n', { BRICKYARD_AUTH_HTPASSWD: 'users' });

    expect(config.data).toBe(join(folder.path, 'images'));
    expect(config.auth.htpasswd).toBe('/elsewhere/users');
  });

  it('a section may be empty, an empty variable is none', async () => {
    const config = await withFile('auth:\nlog:\n  # level: debug\n', { BRICKYARD_LOG_LEVEL: '' });

    expect(config.log.level).toBe('info');
  });

  it('every setting has a variable of its own, a description, and is in docs/configuration.md', async () => {
    const { readFile } = await import('node:fs/promises');
    const docs = await readFile(join(import.meta.dirname, '../../../docs/configuration.md'), 'utf8');
    const settings = listSettings(configSchema as never, 'BRICKYARD_');

    expect(new Set(settings.map(({ variable }) => variable)).size).toBe(settings.length);
    for (const { path, schema } of settings) {
      expect(schema['description'], path.join('.')).toBeTypeOf('string');
      if (schema['x-unavailable'] === undefined) expect(docs).toContain(`\`${path.join('.')}\``);
    }
  });

  it.each([
    ['BRICKYARD_PUBLIC_URL', 'https://r.example.com', { publicUrl: 'https://r.example.com' }],
    ['BRICKYARD_TRUSTED_PROXIES', '10.0.0.0/8, ::1', { trustedProxies: ['10.0.0.0/8', '::1'] }],
    ['BRICKYARD_AUTH_TOKENS_REFRESH_TTL', '0', { auth: { tokens: { refreshTtl: 0 } } }],
    ['BRICKYARD_LOG_ACCESS', 'no', { log: { access: false } }],
    [
      'BRICKYARD_AUTH_RULES',
      '[{"repositories":"a/**","users":["*"],"actions":["pull"]}]',
      { auth: { rules: [{ repositories: 'a/**' }] } },
    ],
  ])('%s=%s', (variable, value, expected) => {
    expect(readConfig({ env: { [variable]: value }, cwd: '/x' })).toMatchObject(expected);
  });

  it.each([
    [{ BRICKYARD_LISTN: 'x' }, /BRICKYARD_LISTN: no setting.*did you mean BRICKYARD_LISTEN\?/],
    [{ BRICKYARD_LISTEN: ':5000' }, /BRICKYARD_LISTEN: .*write 127\.0\.0\.1:5000/],
    [{ BRICKYARD_LISTEN: '1.2.3.4:99999' }, /address and a port/],
    [{ BRICKYARD_PUBLIC_URL: 'https://a/b' }, /no path/],
    [{ BRICKYARD_PUBLIC_URL: 'ftp://a' }, /must be an address/],
    [{ BRICKYARD_PROCESSES: '-1' }, /at least 0/],
    [{ BRICKYARD_PROCESSES: '1e9' }, /whole number/],
    [{ BRICKYARD_TRUSTED_PROXIES: '10.0.0.0/33' }, /no IP address/],
    [{ BRICKYARD_STORE_TYPE: 'memory' }, /a store in memory would lose images/],
    [{ BRICKYARD_STORE_S3_ENDPOINT: 'minio:9000' }, /must be an address such as https/],
    [{ BRICKYARD_STORE_S3_PREFIX: 'a/../b' }, /may hold letters, digits/],
    [{ BRICKYARD_STORE_S3_STORAGE_CLASS: 'DEEP_ARCHIVE' }, /blobs must be readable at once/],
    [{ BRICKYARD_STORE_S3_BUCKET: 'b' }, /must have at least 3 characters/],
    [{ BRICKYARD_REDIS_URL: 'http://:secret@x' }, /must be an address such as redis:/],
    [{ BRICKYARD_REDIS_URL: 'redis://:secret@x/0?family=6' }, /must end with the number of the database/],
    [{ BRICKYARD_REDIS_PREFIX: 'a:b' }, /may hold letters/],
    [{ BRICKYARD_STORE_TYPE: 'disk' }, /must be filesystem/],
    [{ BRICKYARD_AUTH_RULES: 'alice' }, /must be a list/],
    [
      { BRICKYARD_AUTH_RULES: '[{"repositories":"a","users":["anonymous"],"actions":["push"]}]' },
      /without signing in/,
    ],
    [
      { BRICKYARD_REGISTRY_PROMOTION: '[{"repositories":"team/**","tags":"*","require":"tests"}]' },
      /also covers the tags that builds set for commits.*write for example prod\*/,
    ],
    [
      { BRICKYARD_REGISTRY_PROMOTION: '[{"repositories":"Team","tags":["prod"],"require":"none"}]' },
      /"Team" is no pattern over repository names/,
    ],
    [
      { BRICKYARD_REGISTRY_PROMOTION: '[{"repositories":"**","tags":"prod","require":"test"}]' },
      /must be tests, built or none|tests/,
    ],
  ])('%o is refused', (env, message) => {
    const text = faultsOf(env as Record<string, string>);

    expect(text).toMatch(message);
    expect(text).not.toContain('secret');
  });

  it('takes the address of Redis from the file, a variable or a file of its own', async () => {
    const secret = join(folder.path, 'redis-url');
    await writeFile(secret, 'rediss://user:p%40ss@[::1]:7/3\n');

    expect((await withFile('redis: {url: redis://redis}')).redis).toEqual({
      url: 'redis://redis',
      prefix: 'brickyard',
    });
    expect(readConfig({ env: { BRICKYARD_REDIS_URL_FILE: secret }, cwd: '/x' }).redis.url).toContain(
      '[::1]:7',
    );
  });

  it('does not show what may be a password of Redis', async () => {
    const error = await withFile('redis: {url: "secret@redis:6379"}').catch((cause: unknown) => cause);

    expect((error as UserError).message).toMatch(/brickyard\.yaml:1:14 .*must be an address such as redis:/);
    expect((error as UserError).message).not.toContain('secret');
  });

  it('tells all faults at once, with file, line, column and the line itself', async () => {
    const loading = withFile(
      'listen: nowhere\nlog: {levl: info}\nstore: {type: memory}\nauth:\n  rules:\n    - {repositories: "A/**", users: [x], actions: [pull]}\n',
      { BRICKYARD_PROCESSES: 'many' },
    );

    const error = await loading.catch((cause: unknown) => cause as UserError);
    const text = (error as UserError).message;
    expect(text).toContain('has 5 faults');
    expect(text).toContain('brickyard.yaml:1:9');
    expect(text).toMatch(/brickyard\.yaml:2:7 .*did you mean "level"\?/);
    expect(text).toContain('brickyard.yaml:3:15');
    expect(text).toContain('brickyard.yaml:6:22');
    expect(text).toContain('BRICKYARD_PROCESSES: ');
    expect(text).toContain('^^^^');
    expect((error as UserError).exitCode).toBe(2);
  });

  it('a named file must be there, and a folder is none', async () => {
    await mkdir(join(folder.path, 'dir'), { recursive: true });

    for (const file of ['missing.yaml', 'dir']) {
      expect(() => readConfig({ file, env: {}, cwd: folder.path })).toThrow(UserError);
    }
  });

  it('variables that Kubernetes sets for a service of our name are nobody’s mistake', () => {
    const env = {
      BRICKYARD_SERVICE_HOST: '10.0.0.1',
      BRICKYARD_SERVICE_PORT_HTTP: '5000',
      BRICKYARD_PORT: 'tcp://10.0.0.1:5000',
      BRICKYARD_PORT_5000_TCP_ADDR: '10.0.0.1',
      BRICKYARD_SERVER: 'http://x',
    };

    expect(readConfig({ env, cwd: '/x' }).listen).toBe('127.0.0.1:5000');
  });

  it('the service name is the host of the public address', () => {
    expect(serviceName(readConfig({ env: {}, cwd: '/x' }))).toBe('brickyard');
    const env = { BRICKYARD_PUBLIC_URL: 'https://r.example.com:8443/' };
    expect(serviceName(readConfig({ env, cwd: '/x' }))).toBe('r.example.com:8443');
  });
});

describe('where it listens', () => {
  const listen = (address: string, more: Record<string, string> = {}) =>
    readConfig({ env: { BRICKYARD_LISTEN: address, ...more }, cwd: '/x' });

  it.each([
    '127.0.0.1:5000',
    '127.8.9.10:1',
    '[::1]:5000',
    '[::ffff:127.0.0.1]:5000',
    'localhost:5000',
    'LOCALHOST:0',
  ])('%s needs no accounts', (address) => {
    const checked = checkListenAddress(listen(address), { insecureOpen: false });

    expect(isLoopback(checked.host)).toBe(true);
  });

  it.each([
    '0.0.0.0:5000',
    '[::]:5000',
    '[::ffff:0.0.0.0]:5000',
    '10.0.0.1:5000',
    '[fe80::1]:5000',
    'registry.example.com:5000',
    'localhost.example.com:5000',
    'localhost6:5000',
    '127.1:5000',
    '0:5000',
    '2130706433:5000',
    '0177.0.0.1:5000',
  ])('%s is refused without accounts, naming both ways out', (address) => {
    const refused = () => checkListenAddress(listen(address), { insecureOpen: false });

    expect(refused).toThrow(UserError);
    expect(refused).toThrow(/auth\.htpasswd[\s\S]*--insecure-open/);
    expect(() => checkListenAddress(listen(address), { insecureOpen: true })).not.toThrow();
    const withAccounts = listen(address, { BRICKYARD_AUTH_HTPASSWD: 'users' });
    expect(() => checkListenAddress(withAccounts, { insecureOpen: false })).not.toThrow();
  });

  it('localhost is bound as 127.0.0.1, wherever a hosts file may send it', () => {
    expect(parseListenAddress('localhost:5000')).toEqual({ host: '127.0.0.1', port: 5000 });
  });

  it.each([
    '',
    '5000',
    ':5000',
    '*:5000',
    '::1:5000',
    '[127.0.0.1]:1',
    '[::1',
    'a b:1',
    'a:b',
    '1.2.3.4:70000',
    'unix:/x',
  ])('"%s" is no address to listen on', (text) => {
    expect(parseListenAddress(text)).toBeUndefined();
  });
});

describe('mirrors', () => {
  const hub = { prefix: 'docker.io', upstream: 'https://registry-1.docker.io' };
  const faultsOfMirror = (mirror: object): string =>
    faultsOf({ BRICKYARD_MIRRORS: JSON.stringify([{ ...hub, ...mirror }]) });

  it('are read from the file, from a variable as JSON, and from a file of that', async () => {
    const path = join(folder.path, 'mirrors.json');
    await writeFile(path, JSON.stringify([hub]));

    const fromFile = await withFile(`mirrors:\n  - {prefix: docker.io, upstream: "${hub.upstream}"}\n`);
    const fromVariable = readConfig({ env: { BRICKYARD_MIRRORS: JSON.stringify([hub]) }, cwd: '/x' });
    const fromSecret = readConfig({ env: { BRICKYARD_MIRRORS_FILE: path }, cwd: '/x' });

    for (const config of [fromFile, fromVariable, fromSecret]) expect(config.mirrors).toEqual([hub]);
  });

  it('tell all their faults at once, each at its place, and show no password', async () => {
    const faults = await withFile(
      [
        'mirrors:',
        '  - {prefix: Docker, upstream: "https://u:hunter2@r.test", password: "hunter2, or 3"}',
        '  - prefix: quay.io',
        '    upstream: http://10.0.0.1',
        '    username: a',
        "    password: 'hunter2'",
        '    allow: [ok/*, UPPER]',
        '    ca: relative.pem',
        '  - {prefix: quay.io, upstream: "https://quay.io", authRealmHosts: ["https://auth.test"]}',
      ].join('\n'),
    ).catch((error: unknown) => (error as UserError).message);

    for (const place of ['2:14', '2:32', '2:70', '4:15', '7:19', '8:9', '9:14', '9:69']) {
      expect(faults).toContain(`brickyard.yaml:${place} `);
    }
    expect(faults).toContain('the configuration has 8 faults');
    expect(faults).not.toContain('hunter2');
  });

  it('repeat no password that was written as a number', async () => {
    const faults = await withFile(
      'mirrors:\n  - prefix: a\n    upstream: https://a.test\n    username: a\n    password: 424242\n',
    ).catch((error: unknown) => (error as UserError).message);

    expect(faults).toContain('mirrors[0].password: must be text');
    expect(faults).not.toContain('424242');
  });

  it.each([
    [{ upstream: 'registry-1.docker.io' }, /address without a path.*put https:\/\/ in front/],
    [{ upstream: 'https://docker.io' }, /web site, not a registry.*registry-1\.docker\.io/],
    [{ upstream: 'https://r.test/v2' }, /without a path/],
    [{ upstream: 'http://r.test' }, /must be https/],
    [{ upstream: 'http://r.test', insecureHttp: true }, /must be https/],
    [{ upstream: 'http://127.0.0.1:5001' }, /insecureHttp: true/],
    [{ username: 'a' }, /needs password or passwordFile/],
    [{ password: 'a' }, /needs a username/],
    [{ username: 'a', password: 'b', passwordFile: '/c' }, /either password or passwordFile/],
    [{ username: 'a:b', password: 'c' }, /no colon/],
    [{ revalidate: -1 }, /at least 0/],
    [{ redirectHosts: ['Minio'] }, /is no host/],
    [{ insecureHTTP: true }, /unknown key.*did you mean "insecureHttp"/],
  ])('%j stops the start', (mirror, expected) => {
    expect(faultsOfMirror(mirror)).toMatch(expected);
  });

  it.each([
    { upstream: 'http://127.0.0.1:5001', insecureHttp: true },
    { upstream: 'http://[::1]:5001', insecureHttp: true },
    { username: 'a', passwordFile: '/run/secrets/x', authRealmHosts: ['auth.test:8443', '[fd00::1]:8443'] },
    { prefix: 'docker.io/library', allow: ['**'], deny: ['old/**'], revalidate: 0, library: false },
  ])('%j is fine', (mirror) => {
    const entry = { ...hub, ...mirror };
    expect(readConfig({ env: { BRICKYARD_MIRRORS: JSON.stringify([entry]) }, cwd: '/x' }).mirrors).toEqual([
      entry,
    ]);
  });
});
