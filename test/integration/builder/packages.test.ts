import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BuildView } from '../../../builder/http/build-routes.ts';
import { run } from '../../../cli/main.ts';
import { gunzip } from '../../../core/archive/gunzip.ts';
import type { Authenticator } from '../../../core/auth/authenticator.ts';
import { openAuthorizer } from '../../../core/auth/authorizer.ts';
import type { Digest } from '../../../oci/digest.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import { waitFor } from '../../helpers/process.ts';
import { pushStackedImage } from '../../helpers/stacked-image.ts';
import { zipOf } from '../../helpers/zip.ts';
import { appYaml, createWork, type Farm, pushBase, startFarm } from './farm-fixture.ts';
import { createWorkshop, gitOk } from './git-fixture.ts';

/** Name → what it may do; anybody else is nobody. */
const authenticator: Authenticator = {
  required: false,
  async identify(header) {
    const [user = ''] = Buffer.from(header?.replace('Basic ', '') ?? '', 'base64')
      .toString()
      .split(':');
    if (user === 'guest') {
      return {
        principal: { name: 'guest', anonymous: false },
        authorizer: { may: (_who, action) => action === 'pull' },
      };
    }
    if (user === 'dev') return { principal: { name: 'dev', anonymous: false }, authorizer: openAuthorizer };
    return { principal: { name: 'anonymous', anonymous: true }, authorizer: { may: () => false } };
  },
};
const as = (user: string): { authorization: string } => ({
  authorization: `Basic ${Buffer.from(`${user}:x`).toString('base64')}`,
});

let shop: Awaited<ReturnType<typeof createWorkshop>>;
let farm: Farm;
/** A Node app as a release: `.tgz` and `.zip`, made by git. */
let work: string;

beforeAll(async () => {
  shop = await createWorkshop();
  farm = await startFarm({
    ...shop,
    authenticator,
    packageLimits: { maxBytes: 100_000, maxUnpackedBytes: 200_000 },
  });
  await pushBase(farm.registry);
  await pushBase(farm.registry, 1000, ['tomcat', '10']);
  await pushBase(farm.registry, 1000, ['jdk', '17']);
  work = await createWork(join(shop.path, 'work'), {
    'package.json': JSON.stringify({ scripts: { start: 'node server.js' } }),
    'server.js': 'console.log(1)\n',
  });
});
afterAll(async () => {
  await farm.close();
  await shop[Symbol.asyncDispose]();
});

/** A release of `work`. */
let releases = 0;
async function release(format: 'tgz' | 'zip', prefix = ''): Promise<Buffer> {
  releases += 1;
  const file = join(shop.path, `release-${releases}.${format}`);
  // Of a tree, git archives with the time of now.
  await gitOk(work, 'archive', `--format=${format}`, `--prefix=${prefix}`, '-o', file, 'HEAD^{tree}');
  return readFile(file);
}

type Answer = Omit<BuildView, 'error'> & { readonly error?: { code: string; message: string } };

async function send(
  repository: string,
  query: Record<string, string>,
  body: Buffer | ReadableStream<Uint8Array>,
  user = 'dev',
): Promise<{
  status: number;
  location: string | null;
  answer: Answer;
}> {
  const response = await fetch(
    `${farm.url}/api/v1/packages/${repository}?${new URLSearchParams(query).toString()}`,
    {
      method: 'POST',
      body: body instanceof Buffer ? new Uint8Array(body) : body,
      headers: as(user),
      ...(body instanceof ReadableStream ? { duplex: 'half' } : {}),
    } as RequestInit,
  );
  const answer = (await response.json()) as Answer;
  return { status: response.status, location: response.headers.get('location'), answer };
}

/** Sends it and waits for the end of its build. */
async function built(
  repository: string,
  query: Record<string, string>,
  body: Buffer,
): Promise<{ build: BuildView; log: string; digest: string }> {
  const sent = await send(repository, query, body);
  expect(sent).toMatchObject({ status: 202, location: `/api/v1/builds/${sent.answer.id}` });
  const { id } = sent.answer;
  const log = await (
    await fetch(`${farm.url}/api/v1/builds/${id}/log?follow=1`, { headers: as('dev') })
  ).text();
  let build: BuildView | undefined;
  await waitFor(
    async () => {
      build = (await (
        await fetch(`${farm.url}/api/v1/builds/${id}`, { headers: as('dev') })
      ).json()) as BuildView;
      return build.finishedAt !== undefined;
    },
    { what: 'the end of the build' },
  );
  expect(log).toContain('built in');
  return { build: build as BuildView, log, digest: (build as BuildView).image?.digest ?? '' };
}

/** Paths below /home of the image's layers above the base's one. */
async function appFiles(repository: string, tag: string): Promise<string[]> {
  const { bytes } = await farm.registry.getManifest(repository, tag);
  const { layers } = JSON.parse(bytes.toString()) as { layers: { digest: Digest }[] };
  const paths: string[] = [];
  for (const { digest } of layers.slice(1)) {
    const { body } = await farm.registry.getBlob(repository, digest);
    for await (const { entry } of readTar(gunzip(body))) {
      if (entry.type === 'file' && entry.path.startsWith('home/')) paths.push(entry.path);
    }
  }
  return paths.sort();
}

describe('a release package becomes an image', () => {
  it('from the .tgz of a Node app, with an App.yaml that is proposed and shown, and the version as its tag', async () => {
    const { build, log } = await built(
      'team/node',
      { name: 'shop-1.2.tgz' },
      await release('tgz', 'shop-1.2/'),
    );

    expect(build).toMatchObject({ state: 'succeeded', package: { name: 'shop-1.2.tgz' } });
    expect(build.image?.tags).toEqual(['1.2', build.commit.slice(0, 12)]);
    expect(log).toContain('package shop-1.2.tgz: ');
    expect(log).toContain('everything lay in "shop-1.2", which is left out');
    expect(log).toContain('│ base: nodejs:26');
    expect(await appFiles('team/node', '1.2')).toEqual([
      'home/node/App.yaml',
      'home/node/package.json',
      'home/node/server.js',
    ]);
  });

  it('with the same digest whenever and however the same files are packed', async () => {
    const tgz = await built('team/same', { name: 'a.tgz' }, await release('tgz', 'one/'));
    const zip = await built('team/same', { name: 'b.zip', tag: 'zip' }, await release('zip', 'two/'));

    expect(zip.build.commit).toBe(tgz.build.commit);
    expect(zip.digest).toBe(tgz.digest);
  });

  it('by the App.yaml in its only directory, or one that is given, but not by both', async () => {
    const own = zipOf([
      { path: 'x-1/App.yaml', content: appYaml.replace('appname: app', 'appname: own') },
      { path: 'x-1/server.js', content: '1' },
    ]);

    await built('team/own', { name: 'x.zip' }, own);
    await built(
      'team/given',
      { name: 'x.tgz', appfile: appYaml.replace('appname: app\n', '') },
      await release('tgz'),
    );
    const both = await send('team/own', { name: 'x.zip', appfile: appYaml }, own);

    expect(await appFiles('team/own', 'latest')).toContain('home/own/server.js');
    expect(await appFiles('team/given', 'latest')).toContain('home/given/server.js');
    expect(both).toMatchObject({ status: 422, answer: { error: { code: 'PACKAGE_REFUSED' } } });
    expect(both.answer.error?.message).toContain('x.zip brings its own App.yaml');
  });

  it('from a .war, laid out for the server, so that the next release shares what did not change', async () => {
    const war = (page: string): Buffer =>
      zipOf([
        { path: 'WEB-INF/', mode: 0o040_755 },
        { path: 'WEB-INF/web.xml', content: '<web-app/>' },
        {
          path: 'WEB-INF/lib/large.jar',
          content: Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * i) >> 5)),
        },
        { path: 'index.jsp', content: page },
      ]);
    const packs = async (): Promise<number[]> =>
      (await shop.store.list({ prefix: 'git/team/web/packs/' })).objects.map(({ size }) => size);

    await built('team/web', { name: 'shop-1.0.war' }, war('one'));
    const before = await packs();
    const { log } = await built('team/web', { name: 'shop-1.1.war' }, war('two'));

    expect(await appFiles('team/web', '1.1')).toEqual([
      'home/web/App.yaml',
      'home/web/webapps/ROOT/WEB-INF/lib/large.jar',
      'home/web/webapps/ROOT/WEB-INF/web.xml',
      'home/web/webapps/ROOT/index.jsp',
    ]);
    expect(log).toContain('│ base: "tomcat:10"');
    const fresh = (await packs()).filter((size) => !before.includes(size));
    expect(fresh).toHaveLength(1);
    expect(fresh[0]).toBeLessThan(2000);
  });

  it('from a .jar, in one piece', async () => {
    const jar = zipOf([
      { path: 'META-INF/MANIFEST.MF', content: 'Main-Class: shop.Main\n' },
      { path: 'shop/Main.class' },
    ]);

    await built('team/jar', { name: 'shop.jar' }, jar);

    expect(await appFiles('team/jar', 'latest')).toEqual(['home/jar/App.yaml', 'home/jar/shop.jar']);
  });

  it('once, when it is sent again while its build waits', async () => {
    await using quiet = await createWorkshop();
    await using idle = await startFarm({ ...quiet, work: false });
    const body = await release('zip');
    const post = async (): Promise<BuildView> =>
      (await (
        await fetch(`${idle.url}/api/v1/packages/team/app?name=a.zip`, {
          method: 'POST',
          body: new Uint8Array(body),
        })
      ).json()) as BuildView;

    const first = await post();
    const again = await post();

    expect(again.id).toBe(first.id);
    expect(await idle.builder.builds.list()).toHaveLength(1);
  });

  it('and is built again by retry', async () => {
    const { build, digest } = await built(
      'team/retry',
      { name: 'a.zip', base: 'nodejs:26', command: 'node server.js' },
      await release('zip'),
    );

    const again = await farm.builder.builds.retry(build.id);

    await waitFor(async () => (await farm.builder.builds.get(again?.id ?? ''))?.state === 'succeeded', {
      what: 'the second build',
    });
    expect((await farm.builder.builds.get(again?.id ?? ''))?.result).toMatchObject({ digest });
  });
});

it('a package is the stored source of its image: a base that a rebase will not do for makes it again', async () => {
  const pushGeneration = (generation: number): Promise<Digest> =>
    pushStackedImage(
      farm.registry,
      'baseimages/moving',
      {
        layers: [`debian ${generation}`],
        annotations: {
          'org.brickyard.base.abi': `abi${generation}`,
          'org.brickyard.base.rebase': 'compatible',
        },
      },
      ['1', `1.${generation}-0000000${generation}`],
    );
  await pushGeneration(1);
  const query = { name: 'shop-1.2.zip', base: 'moving:1', command: 'node server.js' };
  const { build } = await built('team/wave', query, await release('zip'));
  const fresh = await pushGeneration(2);

  const [wave] = await farm.builder.propagation.start({ name: 'moving', by: 'dev' });

  const id = wave?.id ?? '';
  await waitFor(
    async () => (await farm.builder.propagation.wave('moving', id))?.wave.finishedAt !== undefined,
    {
      what: 'the end of the wave',
    },
  );
  expect((await farm.builder.propagation.wave('moving', id))?.images).toMatchObject([{ outcome: 'rebuilt' }]);
  const moved = await farm.registry.getManifest('team/wave', '1.2');
  expect(moved.bytes.toString()).toContain(fresh);
  const named = await farm.registry.resolveManifest('team/wave', `${build.commit.slice(0, 12)}-00000002`);
  expect(named.digest).toBe(moved.descriptor.digest);
});

describe('a package is refused', () => {
  const small = Buffer.from('not an archive'.repeat(100));

  it.each<[string, Record<string, string>, string, string, number, RegExp]>([
    [
      'a user who may not build',
      { name: 'a.zip' },
      'team/app',
      'guest',
      403,
      /guest may not build team\/app/,
    ],
    ['nobody', { name: 'a.zip' }, 'team/app', 'nobody', 401, /authentication required/],
    ['a reserved team', { name: 'a.zip' }, 'baseimages/jdk', 'dev', 403, /is reserved/],
    ['a name that is none', { name: 'a.zip' }, 'Team/app', 'dev', 400, /invalid repository name/],
    [
      'a file that is no package',
      { name: 'a.rpm' },
      'team/app',
      'dev',
      400,
      /must be a file name that ends with/,
    ],
    ['a tag that is none', { name: 'a.zip', tag: '.x' }, 'team/app', 'dev', 400, /is no tag/],
    ['another checksum', { name: 'a.zip', sha256: '0'.repeat(64) }, 'team/app', 'dev', 422, /send it again/],
    [
      'what is no archive',
      { name: 'a.zip' },
      'team/app',
      'dev',
      422,
      /a\.zip was refused: it is no tar archive/,
    ],
  ])('for %s', async (_what, query, repository, user, status, message) => {
    const sent = await send(repository, query, small, user);

    expect(sent.status).toBe(status);
    expect(sent.answer.error?.message).toMatch(message);
  });

  it('when an entry climbs out, by its name, and nothing is kept of it', async () => {
    const sent = await send(
      'team/evil',
      { name: 'a.zip' },
      zipOf([{ path: 'ok' }, { path: '../../etc/cron.d/x' }]),
    );

    expect(sent.status).toBe(422);
    expect(sent.answer.error?.message).toBe(
      'a.zip was refused: entry "../../etc/cron.d/x": its path climbs out of the archive by ".."',
    );
    expect((await shop.store.list({ prefix: 'git/team/evil/' })).objects).toEqual([]);
  });

  it('when it has no App.yaml and nothing tells what it is, with what to write', async () => {
    const sent = await send('team/tool', { name: 'tool.zip' }, zipOf([{ path: 'run', content: '' }]));

    expect(sent.status).toBe(422);
    expect(sent.answer.error?.message).toMatch(/holds no App\.yaml.*appname: tool\n/s);
  });

  it('when it is too large: as it says, as it turns out, or unpacked', async () => {
    const large = Buffer.alloc(150_000);
    const chunked = new ReadableStream({
      start(controller) {
        for (let at = 0; at < large.length; at += 10_000) controller.enqueue(large.subarray(at, at + 10_000));
        controller.close();
      },
    });
    const zeros = zipOf([{ path: 'zeros', content: Buffer.alloc(250_000) }]);

    expect(await send('team/app', { name: 'a.zip' }, large)).toMatchObject({ status: 413 });
    expect(await send('team/app', { name: 'a.zip' }, chunked)).toMatchObject({ status: 413 });
    expect(await send('team/app', { name: 'a.zip' }, zeros)).toMatchObject({
      status: 422,
      answer: { error: { message: 'a.zip was refused: it unpacks to more than 200000 bytes' } },
    });
  });

  it('by its build, when the App.yaml has faults, and the log says where', async () => {
    const sent = await send(
      'team/faulty',
      { name: 'a.zip', appfile: 'base: nodejs:26\n' },
      await release('zip'),
    );
    const log = await fetch(`${farm.url}${sent.location}/log?follow=1`, { headers: as('dev') });

    expect(await log.text()).toMatch(
      /App\.yaml:1:1 error E011 .*entrypoints.*mend the file and send the package again/s,
    );
  });

  it('when its sender leaves in the middle, even where what came could be read', async () => {
    const whole = zipOf([{ path: 'server.js' }]);
    const { port, hostname } = new URL(farm.url);
    const socket = connect(Number(port), hostname);
    const query = 'name=a.zip&base=nodejs:26&command=node';
    socket.write(
      `POST /api/v1/packages/team/cut?${query} HTTP/1.1\r\nHost: x\r\nAuthorization: ${as('dev').authorization}\r\n` +
        `Content-Length: ${whole.length + 1}\r\n\r\n`,
    );
    socket.end(whole);
    await new Promise((resolve) => socket.once('close', resolve).resume());

    const next = await built('team/cut', { name: 'b.zip', base: 'nodejs:26', command: 'node' }, whole);

    const refs = JSON.parse((await shop.store.get('git/team/cut/refs'))?.body.toString() ?? '') as {
      refs: object;
    };
    expect(Object.keys(refs.refs)).toEqual([next.build.ref]);
    expect(await readdir(join(shop.cacheDir, 'uploads'))).toEqual([]);
    expect(await readdir(join(shop.cacheDir, 'imports'))).toEqual([]);
  });
});

describe('brickyard build FILE', () => {
  async function brickyard(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    let stdout = '';
    let stderr = '';
    const credentials = join(shop.path, 'credentials.json');
    await writeFile(
      credentials,
      JSON.stringify({ version: 1, servers: { [farm.url]: { user: 'dev', password: 'x' } } }),
    );
    const code = await run(['build', ...args, '--server', farm.url], {
      stdout: (text) => void (stdout += text),
      stderr: (text) => void (stderr += text),
      cwd: shop.path,
      env: { PATH: process.env['PATH'], HOME: shop.path, BRICKYARD_CREDENTIALS: credentials },
    });
    return { code, stdout, stderr };
  }

  it('sends it, shows the log, and prints the reference; the repository is named after the user and the file', async () => {
    await writeFile(join(shop.path, 'cart-2.0.tgz'), await release('tgz', 'cart-2.0/'));

    const { code, stdout, stderr } = await brickyard('cart-2.0.tgz');

    expect(stderr).toContain('sending cart-2.0.tgz');
    expect(stderr).toContain('✓ image');
    const { digest } = await farm.registry.resolveManifest('dev/cart', '2.0');
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${farm.host}/dev/cart:2.0@${digest}\n` });
  });

  it('takes an App.yaml beside the package, and a tag', async () => {
    await writeFile(join(shop.path, 'cart.zip'), await release('zip'));
    await writeFile(join(shop.path, 'given.yaml'), appYaml.replace('appname: app', 'appname: cart'));

    const { code } = await brickyard(
      'cart.zip',
      '--repository',
      'team/cart',
      '--app',
      'given.yaml',
      '-t',
      'rc',
    );

    expect(code).toBe(0);
    expect(await appFiles('team/cart', 'rc')).toContain('home/cart/App.yaml');
  });

  it('says what the server refused, and what is no package', async () => {
    await writeFile(join(shop.path, 'bad.zip'), zipOf([{ path: '/abs' }]));
    await writeFile(join(shop.path, 'bad.txt'), 'x');

    expect((await brickyard('missing.zip')).stderr).toMatch(/missing\.zip is no folder and no file/);

    expect(await brickyard('bad.zip')).toMatchObject({ code: 1 });
    expect((await brickyard('bad.zip')).stderr).toContain(
      'bad.zip was refused: entry "/abs": its path is absolute',
    );
    expect((await brickyard('bad.txt', '--repository', 'team/bad')).stderr).toContain(
      'must end with .tar.gz',
    );
    expect((await brickyard('work', '--base', 'nodejs:26', '--repository', 'team/x')).stderr).toContain(
      '--base is for packages',
    );
  });
});

it('the checksum that a sender may give is that of the body', async () => {
  const body = await release('zip');

  const sent = await send(
    'team/sum',
    { name: 'a.zip', sha256: createHash('sha256').update(body).digest('hex') },
    body,
  );

  expect(sent).toMatchObject({ status: 202 });
});
