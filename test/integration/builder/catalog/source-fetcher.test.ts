import { createHash } from 'node:crypto';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { BaseFileSource } from '../../../../builder/catalog/base-file.ts';
import {
  createSourceFetcher,
  type SourceFetcher,
  type SourceFetcherOptions,
} from '../../../../builder/catalog/sources/source-fetcher.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';
import { createRecorder, createWorkshop, gitOk, serveGit } from '../git-fixture.ts';

const { signal } = new AbortController();
const content = Buffer.from('the file\n');
const sha256 = createHash('sha256').update(content).digest('hex');
/** A name that is never given out (RFC 6761), so that the own place of a source cannot be reached. */
const unreachable = 'https://files.invalid/a.tgz';

let folder: TempDirectory;
let asked: string[] = [];

/** A mirror in a private network, with every way to go wrong. */
const server = createServer((request, response) => {
  const path = request.url ?? '';
  asked.push(path);
  if (path === '/good' || path === '/good/a.tgz') response.end(content);
  else if (path === '/other') response.end('another file');
  else if (path === '/long') response.end(Buffer.alloc(1024 * 1024));
  else if (path === '/page') {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end('<title>sign in</title>');
  } else if (path === '/away') {
    response.statusCode = 302;
    response.setHeader('location', 'http://169.254.169.254/latest/meta-data');
    response.end();
  } else if (path === '/round') {
    response.statusCode = 302;
    response.setHeader('location', '/round');
    response.end();
  } else if (path === '/drip') {
    const drip = setInterval(() => response.write('x'), 20);
    response.on('close', () => clearInterval(drip));
  } else if (/^http:\/\/files\.invalid(?::80)?\/proxied$/.test(path)) response.end(content);
  else if (path === '/cut') {
    response.setHeader('content-length', content.length);
    response.write('the');
    response.socket?.destroySoon();
  } else {
    response.statusCode = 404;
    response.end();
  }
});
let mirror: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  mirror = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  folder = await createTempDirectory('fetcher');
});

beforeEach(async () => {
  asked = [];
  await rm(join(folder.path, 'cache'), { recursive: true, force: true });
});

afterAll(async () => {
  server.close();
  server.closeAllConnections();
  await folder.remove();
});

function fetcherOf(options: Partial<SourceFetcherOptions> = {}): SourceFetcher {
  return createSourceFetcher({ folder: join(folder.path, 'cache'), mirrors: {}, env: {}, ...options });
}

async function fetchOne(
  source: Partial<BaseFileSource>,
  options: Partial<SourceFetcherOptions> = {},
): Promise<string> {
  const fetcher = fetcherOf(options);
  try {
    const [fetched] = await fetcher.fetch([{ name: 'a.tgz', sha256, ...source }], { signal });
    return await readFile(fetched?.file ?? '', 'utf8');
  } finally {
    fetcher.close();
  }
}

describe('a source', () => {
  it('comes from the first mirror that has it, and each one that has not is named', async () => {
    const mirrors = ['/missing', '/page', '/other', '/away', '/round', '/cut'].map((path) => mirror + path);

    expect(await fetchOne({ url: unreachable, mirrors: [...mirrors, `${mirror}/good`] })).toBe('the file\n');

    const failed = await fetchOne({ url: unreachable, sha256: sha256.replace(/./g, 'a'), mirrors }).catch(
      (error: Error) => error.message,
    );
    const reasons = String(failed).split('\n');
    expect(reasons).toEqual([
      'the source a.tgz could not be fetched:',
      expect.stringContaining(`  ${unreachable}: files.invalid: `),
      `  ${mirror}/missing answers with status 404`,
      `  ${mirror}/page answers with a web page instead of the file`,
      expect.stringMatching(/\/other: its checksum is [0-9a-f]{64}, but the recipe says a{64}$/),
      `  ${mirror}/away: http://169.254.169.254/latest/meta-data is not HTTPS`,
      `  ${mirror}/round redirects more than 5 times`,
      expect.stringContaining(`  ${mirror}/cut: `),
    ]);
    expect(await readdir(join(folder.path, 'cache/sources'))).toEqual([sha256]);
  });

  it('is asked of the catalog’s mirrors before its own place, and of the cache before both', async () => {
    const mirrors = { 'https://files.invalid/': [`${mirror}/missing`, `${mirror}/good/`] };

    expect(await fetchOne({ url: unreachable }, { mirrors })).toBe('the file\n');
    expect(asked).toEqual(['/missing/a.tgz', '/good/a.tgz']);
    asked = [];
    expect(await fetchOne({ url: unreachable }, { mirrors, offline: true })).toBe('the file\n');
    expect(asked).toEqual([]);
  });

  it('is fetched again when its file in the cache was damaged', async () => {
    const source = { url: unreachable, mirrors: [`${mirror}/good`] };
    await fetchOne(source);
    await writeFile(join(folder.path, 'cache/sources', sha256), 'damaged');

    expect(await fetchOne(source)).toBe('the file\n');
  });

  it('may not lie in a private network, unless somebody says so', async () => {
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/good`;

    await expect(fetchOne({ url })).rejects.toThrow('only mirrors may lie there');
    await expect(fetchOne({ url: 'https://[::ffff:127.0.0.1]/good' })).rejects.toThrow('private network');
    expect(asked).toEqual([]);
  });

  it('is given up as soon as it is longer than it should be', async () => {
    const source = { url: unreachable, size: content.length, mirrors: [`${mirror}/long`] };

    await expect(fetchOne(source)).rejects.toThrow('it is larger than 9 bytes');
  });

  it('is given up when it takes too long, even if bytes keep coming', async () => {
    const mirrors = [`${mirror}/drip`, `${mirror}/good`];

    expect(await fetchOne({ url: unreachable, mirrors }, { attemptMs: 300 })).toBe('the file\n');
    await expect(
      fetchOne({ url: unreachable, mirrors, sha256: 'a'.repeat(64) }, { attemptMs: 300 }),
    ).rejects.toThrow(`${mirror}/drip: not done within 0.3 s`);
  });

  it('is asked of the proxy that the environment names', async () => {
    const mirrors = { 'https://files.invalid/': ['http://files.invalid/'] };
    const source = { url: 'https://files.invalid/proxied' };

    expect(await fetchOne(source, { mirrors, env: { HTTP_PROXY: mirror } })).toBe('the file\n');
  });

  it('comes from our own store in a closed network, and from nowhere else', async () => {
    const kept = new Map([[sha256, content]]);
    const store = {
      openTagged: async () => undefined,
      open: async (key: string) =>
        kept.has(key)
          ? (async function* () {
              yield kept.get(key) ?? Buffer.alloc(0);
            })()
          : undefined,
    };
    const source = { url: unreachable, mirrors: [`${mirror}/good`] };

    expect(await fetchOne(source, { store, offline: true })).toBe('the file\n');
    await rm(join(folder.path, 'cache'), { recursive: true });
    kept.clear();
    await expect(fetchOne(source, { store, offline: true })).rejects.toThrow(
      '"brickyard base mirror" keeps it',
    );
    expect(asked).toEqual([]);
  });

  it('without a checksum is not fetched at all', async () => {
    const fetcher = fetcherOf();

    await expect(fetcher.fetch([{ name: 'a', url: unreachable }], { signal })).rejects.toThrow(
      'has no sha256 yet',
    );
  });

  it('is a commit of git, whatever the commit says about its files', async () => {
    await using shop = await createWorkshop();
    await using git = await serveGit({ ...shop, listener: createRecorder() });
    const work = join(shop.path, 'work');
    await gitOk(shop.path, 'init', '--quiet', '--initial-branch=main', work);
    await writeFile(join(work, 'kept.txt'), '$Format:%H$\n');
    await writeFile(join(work, '.gitattributes'), 'kept.txt export-ignore export-subst\n');
    await gitOk(work, 'add', '--all');
    await gitOk(work, 'commit', '--quiet', '--message=first');
    await gitOk(work, 'push', '--quiet', `${git.url}/git/team/tool.git`, 'main');
    const commit = (await gitOk(work, 'rev-parse', 'HEAD')).trim();
    const source = { git: { url: 'https://git.invalid/team/tool.git', commit } };
    const mirrors = { 'https://git.invalid/': [`${git.url}/git/`] };

    const wrong = await fetchOne({ ...source, sha256: 'a'.repeat(64) }, { mirrors }).catch(
      (error: Error) => error.message,
    );
    const actual = /its checksum is ([0-9a-f]{64})/.exec(wrong)?.[1] ?? '';

    expect(await fetchOne({ ...source, sha256: actual }, { mirrors })).toContain('$Format:%H$');
  });
});
