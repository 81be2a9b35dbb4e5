import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { checkAuthorities } from '../../../../cache-proxy/agent/check-authorities.ts';
import type { Pool } from '../../../../cache-proxy/pools/pool.ts';
import { makePool } from '../../../helpers/pool.ts';
import { createTempDirectory } from '../../../helpers/temp.ts';

describe('certificates that registries are checked with', () => {
  it('are read before a pool starts, and the file that is none is named', async () => {
    await using folder = await createTempDirectory('ca');
    const [good, junk, missing] = ['good.pem', 'junk.pem', 'missing.pem'].map((name) =>
      join(folder.path, name),
    );
    await writeFile(good as string, rootCertificates[0] as string);
    await writeFile(junk as string, 'junk');
    const made = makePool({ folder: folder.path, listen: '127.0.0.1:1', origin: ['https://a.example'] });
    const withOrigin = (ca: string | undefined): Pool => ({
      ...made,
      origin: { ...made.origin, ...(ca === undefined ? {} : { ca }) },
    });
    const upstream = { ns: 'docker.io', urls: ['https://hub.example'], allow: [], deny: [] };

    expect(() => checkAuthorities(made)).not.toThrow();
    expect(() => checkAuthorities(withOrigin(good))).not.toThrow();
    expect(() => checkAuthorities(withOrigin(junk))).toThrow(
      `origin.ca of the pool test: ${junk} holds no certificate (PEM)`,
    );
    expect(() => checkAuthorities(withOrigin(missing))).toThrow(`${missing} cannot be read: ENOENT`);
    expect(() =>
      checkAuthorities({
        ...made,
        upstreams: [{ ...upstream, ...(junk === undefined ? {} : { ca: junk }) }],
      }),
    ).toThrow('ca of the upstream docker.io of the pool test');
  });
});
