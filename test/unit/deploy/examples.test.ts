import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { readPoolCredentials, readPoolsFile } from '../../../cache-proxy/pools/read-pools.ts';
import { checkListenAddress, readConfig } from '../../../cli/config.ts';
import { frontHints, frontOfConfig } from '../../../cli/front-of-config.ts';
import { readVariables } from '../../../scripts/compose/variables.ts';

const deploy = resolve(import.meta.dirname, '../../../deploy');

interface ComposeFile {
  readonly services: Readonly<Record<string, { readonly environment?: Readonly<Record<string, string>> }>>;
}

function composeFile(name: string): ComposeFile {
  return parse(readFileSync(join(deploy, 'compose', name), 'utf8'), { merge: true }) as ComposeFile;
}

/** What a service of the compose file is told, as Compose would fill it in from `.env`. */
function environmentOf(service: string): Record<string, string> {
  const variables = readVariables(
    'BRICKYARD_PUBLIC_URL=http://127.0.0.1:5000\nBRICKYARD_NETWORK=172.30.7\nBRICKYARD_S3_BUCKET=brickyard\n' +
      'BRICKYARD_S3_ENDPOINT=http://s3:7480\nBRICKYARD_S3_REGION=us-east-1\nBRICKYARD_ENGINE=none\n',
  );
  const entries = Object.entries(composeFile('docker-compose.yml').services[service]?.environment ?? {});
  return Object.fromEntries(
    entries
      // Secrets are files of the container.
      .filter(([name]) => !name.endsWith('_FILE') && name !== 'BRICKYARD_CONFIG')
      .map(([name, value]) => [
        name,
        value.replace(/\$\{([A-Z0-9_]+)[^}]*\}/g, (_, variable: string) => variables[variable] ?? '?'),
      ]),
  );
}

describe('the settings in deploy/', () => {
  it('examples/brickyard.yaml is accepted, listens, and makes an nginx without hints', () => {
    const config = readConfig({ file: join(deploy, 'examples/brickyard.yaml'), env: {}, cwd: '/' });

    expect(checkListenAddress(config, { insecureOpen: false })).toEqual({ host: '127.0.0.1', port: 5000 });
    expect(frontHints(config, frontOfConfig(config))).toEqual([]);
  });

  it.each(['registry-1', 'worker', 'front-config'])(
    'compose/config/brickyard.yaml with the variables of %s is accepted',
    (service) => {
      const file = join(deploy, 'compose/config/brickyard.yaml');
      const config = readConfig({ file, env: environmentOf(service), cwd: '/' });

      // With accounts: it listens on all addresses of its container.
      expect(checkListenAddress(config, { insecureOpen: false })).toEqual({ host: '0.0.0.0', port: 5000 });
      expect(config.store).toMatchObject({
        type: 's3',
        s3: { endpoint: 'http://s3:7480', bucket: 'brickyard' },
      });
      expect(config.trustedProxies).toEqual(['172.30.7.10']);
      const front = frontOfConfig(config);
      expect(front.replicas).toEqual(['172.30.7.11:5000', '172.30.7.12:5000']);
      expect(frontHints(config, front)).toEqual([]);
    },
  );

  it('examples/pools.yaml is accepted: a rack with nginx, and a small site behind it', () => {
    const pools = readPoolsFile(join(deploy, 'examples/pools.yaml'));

    expect(pools).toMatchObject([
      { name: 'rack-4', engine: 'nginx', parents: [] },
      { name: 'branch-office', engine: 'embedded', parents: [{ name: 'rack-4' }] },
    ]);
  });

  it('compose/config/pools.yaml is accepted with the credential that its container finds', () => {
    const [pool] = readPoolsFile(join(deploy, 'compose/config/pools.yaml'));
    if (pool === undefined) throw new Error('there is no pool');

    expect(readPoolCredentials(pool, { POOL_CREDENTIAL: 'pool:secret' })).toMatchObject({
      name: 'here',
      engine: 'embedded',
      listen: '0.0.0.0:5080',
      agent: { listen: '127.0.0.1:5095' },
      origin: { urls: ['http://front:8080'], credential: { username: 'pool', password: 'secret' } },
    });
  });

  it('examples/environment holds no value that anybody could take over', () => {
    const variables = readVariables(readFileSync(join(deploy, 'examples/environment'), 'utf8'));

    expect(variables).toEqual({});
  });

  it('no compose file holds a password, builds an image, or lets a service reach further than it must', () => {
    for (const name of ['docker-compose.yml', 'docker-compose.s3.yml', 'docker-compose.pool.yml']) {
      for (const [service, settings] of Object.entries(composeFile(name).services)) {
        if (!('image' in settings)) continue;
        expect(settings, `${name} ${service}`).toMatchObject({
          read_only: true,
          cap_drop: ['ALL'],
          security_opt: ['no-new-privileges:true'],
          image: expect.stringMatching(/^\$\{BRICKYARD_[A-Z]+_IMAGE:\?/) as string,
          pids_limit: expect.any(Number) as number,
        });
        expect(settings).not.toHaveProperty('build');
        for (const [variable, value] of Object.entries(settings.environment ?? {})) {
          if (/PASSWORD|SECRET|KEY|REDIS_URL|CREDENTIALS/.test(variable))
            expect(value).toMatch(/^\/run\/secrets\//);
        }
      }
    }
  });

  it('README.md tells of every file', () => {
    const readme = readFileSync(join(deploy, 'README.md'), 'utf8');
    const files = readdirSync(deploy, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== 'README.md')
      .map((entry) => entry.name);

    expect(files.filter((name) => !readme.includes(name))).toEqual([]);
  });
});
