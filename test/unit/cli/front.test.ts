import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readConfig } from '../../../cli/config.ts';
import { frontHints, frontOfConfig, originOfStore } from '../../../cli/front-of-config.ts';
import { run } from '../../../cli/main.ts';

type Env = Readonly<Record<string, string>>;

const model = (env: Env = {}) => frontOfConfig(readConfig({ env, cwd: '/srv' }), env);
const s3: Env = { BRICKYARD_STORE_TYPE: 's3', BRICKYARD_STORE_S3_BUCKET: 'images' };

async function front(env: Env): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  const code = await run(['front', 'render'], {
    cwd: join(import.meta.dirname, 'nowhere'),
    env,
    stdout: (text) => {
      stdout += text;
    },
    stderr: (text) => {
      stderr += text;
    },
  });
  return { code, stdout, stderr };
}

describe('the front that brickyard.yaml describes', () => {
  it('without a word about it is nginx on loopback before this server, which sends the files of ./data', () => {
    expect(model()).toEqual({
      folder: '/srv/front',
      listen: '127.0.0.1:8080',
      serverName: '_',
      allowPlain: false,
      replicas: ['127.0.0.1:5000'],
      prefix: '/_bytes/',
      bytes: { kind: 'files', folder: '/srv/data/store/objects' },
    });
  });

  it('takes what the server knows already: its public name, its prefix, its store and that store’s certificates', () => {
    const env = {
      ...s3,
      BRICKYARD_PUBLIC_URL: 'https://registry.example.com:8443',
      BRICKYARD_REGISTRY_ACCEL_PREFIX: '/_blobs/',
      BRICKYARD_STORE_S3_ENDPOINT: 'https://s3.test:9000',
      BRICKYARD_STORE_S3_CA_FILE: 'ca.pem',
      BRICKYARD_FRONT_CACHE_FOLDER: '/var/cache/front',
    };

    expect(model(env)).toMatchObject({
      serverName: 'registry.example.com',
      prefix: '/_blobs/',
      bytes: {
        kind: 's3',
        store: 'https://s3.test:9000',
        ca: '/srv/ca.pem',
        cache: { folder: '/var/cache/front', maxSize: '10g', minFree: '1g', inactive: '30d' },
      },
    });
    expect(model({ BRICKYARD_LISTEN: '0.0.0.0:5000' }).replicas).toEqual(['127.0.0.1:5000']);
    expect(model({ ...env, BRICKYARD_FRONT_BYTES: 'none' }).bytes).toEqual({ kind: 'none' });
  });

  it.each([
    [{ endpoint: 'https://s3.test' }, 'https://s3.test'],
    [
      { endpoint: 'http://10.0.0.1:7480', publicEndpoint: 'https://s3.example.com' },
      'https://s3.example.com',
    ],
    [
      { endpoint: 'https://s3.test:9000', bucket: 'images', forcePathStyle: false },
      'https://images.s3.test:9000',
    ],
    [{ bucket: 'images', region: 'eu-central-1' }, 'https://images.s3.eu-central-1.amazonaws.com'],
    [
      { bucket: 'images', region: 'eu-central-1', forcePathStyle: true },
      'https://s3.eu-central-1.amazonaws.com',
    ],
  ])('finds presigned addresses of %j at %s', (place, origin) => {
    expect(originOfStore(place)).toBe(origin);
  });

  it('asks for the store’s address where it cannot be told, and reads the region where the library does', () => {
    expect(() => model(s3)).toThrow('front.store.url');
    expect(model({ ...s3, AWS_REGION: 'eu-west-1' }).bytes).toMatchObject({
      store: 'https://images.s3.eu-west-1.amazonaws.com',
    });
    expect(model({ ...s3, BRICKYARD_FRONT_STORE_URL: 'https://cdn.test' }).bytes).toMatchObject({
      store: 'https://cdn.test',
    });
  });

  it('says what else has to be set', () => {
    const hints = (env: Env): string[] => frontHints(readConfig({ env, cwd: '/srv' }), model(env));

    expect(hints({}).join()).toMatch(/accel\.mode is off.*trustedProxies is empty/);
    const set = { BRICKYARD_REGISTRY_ACCEL_MODE: 'on', BRICKYARD_TRUSTED_PROXIES: '127.0.0.1' };
    expect(hints(set)).toEqual([]);
    expect(hints({ BRICKYARD_FRONT_BYTES: 'none' })).toEqual([]);
  });
});

describe('brickyard front render', () => {
  it('prints the configuration on stdout and hints on stderr', async () => {
    const { code, stdout, stderr } = await front({});

    expect(code).toBe(0);
    expect(stdout).toMatch(/^# Made by `brickyard front render`[\s\S]*\nhttp \{[\s\S]*\}\n?$/);
    expect(stderr).toContain('registry.accel.mode is off');
  });

  it('prints nothing when a value is none, and names its place', async () => {
    const { code, stdout, stderr } = await front({
      BRICKYARD_FRONT_REPLICAS: '10.0.0.5:5000,evil; }',
      BRICKYARD_FRONT_CACHE_MAX_SIZE: '10 g',
    });

    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain('BRICKYARD_FRONT_REPLICAS: [1]: "evil; }" must be a host and a port');
    expect(stderr).toContain('BRICKYARD_FRONT_CACHE_MAX_SIZE: must be a size');
  });

  it('refuses to send passwords in the clear, and half a certificate', async () => {
    const open = await front({ BRICKYARD_FRONT_LISTEN: '0.0.0.0:80' });
    const half = await front({ BRICKYARD_FRONT_TLS_KEY: '/etc/tls.key' });

    expect([open.code, half.code]).toEqual([2, 2]);
    expect(open.stderr).toContain('passwords and images would pass readable');
    expect(half.stderr).toContain('front.tls: certificate and key');
  });
});
