import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../../cli/config.ts';
import { openTriggers } from '../../../cli/serve/triggers.ts';
import type { UserError } from '../../../core/user-error.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

let folder: TempDirectory;
beforeAll(async () => {
  folder = await createTempDirectory('triggers');
  await writeFile(join(folder.path, 'secret'), '0123456789abcdef0123456789abcdef\n');
  await writeFile(join(folder.path, 'token'), 'a token\n');
  await writeFile(join(folder.path, 'short'), 'short\n');
  await writeFile(join(folder.path, 'lines'), 'one\ntwo\n');
});
afterAll(() => folder.remove());

/** `rest` of one trigger in flow style; `F/` stands for the folder. */
async function read(rest: string) {
  const file = join(folder.path, 'brickyard.yaml');
  const text = `builder:\n  triggers:\n    - {${rest}}\n`.replaceAll('F/', `${folder.path}/`);
  await writeFile(file, text);
  return readConfig({ file, env: {}, cwd: '/' });
}

const common = 'app: shop/web, provider: github, secretFiles: [F/secret]';

async function faultOf(rest: string): Promise<string> {
  try {
    openTriggers(await read(rest));
  } catch (error) {
    return (error as UserError).message.replaceAll(folder.path, 'F');
  }
  return 'no fault';
}

describe('builder.triggers', () => {
  it('is opened with what its files hold, and defaults for the rest', async () => {
    const config = await read(
      `${common}, url: https://github.com/example/web, tokenFile: F/token, status: {tokenFile: F/token}`,
    );

    expect(openTriggers(config)).toEqual([
      {
        team: 'shop',
        app: 'web',
        provider: 'github',
        remote: {
          url: 'https://github.com/example/web',
          privateNetwork: false,
          login: { username: 'git', token: 'a token' },
        },
        secrets: ['0123456789abcdef0123456789abcdef'],
        branches: ['**'],
        tags: ['**'],
        forks: 'never',
        status: { api: 'https://api.github.com', token: 'a token', context: 'brickyard' },
      },
    ]);
  });

  it.each([
    ['github', 'https://git.example.com/a/b', 'https://git.example.com/api/v3'],
    ['gitlab', 'https://git.example.com:8443/a/b', 'https://git.example.com:8443/api/v4'],
    ['gitea', 'ssh://git@git.example.com:2222/a/b', 'https://git.example.com/api/v1'],
  ])('of %s at %s reports to %s', async (provider, url, api) => {
    const ssh = url.startsWith('ssh') ? 'keyFile: F/key, knownHostsFile: F/known,' : '';
    const config = await read(
      `app: shop/web, provider: ${provider}, ${ssh} secretFiles: [F/secret], url: "${url}", status: {tokenFile: F/token}`,
    );

    expect(openTriggers(config)[0]?.status?.api).toBe(api);
  });

  it.each([
    [`${common}, url: "http://git.example.com/a"`, /brickyard\.yaml:3:\d+.*is plain HTTP/],
    [`${common}, url: "ext::sh -c x"`, /is no address|must begin with/],
    [`${common}, url: "ssh://git@git.example.com/a"`, /needs keyFile[\s\S]*needs knownHostsFile/],
    [`${common}, url: "https://a.example.com/b", keyFile: F/key`, /is for ssh/],
    [`${common}, url: "https://a.example.com/b", username: x`, /needs tokenFile/],
    [`${common}, url: "https://a.example.com/b", branches: ["[a"]`, /is no pattern/],
    [`${common}, url: "https://a.example.com/b", tokenFile: token`, /must be an absolute path/],
    [`${common}, url: "https://a.example.com/b", caFile: "/etc/a b"`, /must hold no blank/],
    [`${common}, url: "https://a.example.com/b", secret: x`, /secret/],
    [
      'app: web, provider: github, secretFiles: [F/secret], url: "https://a.example.com/b"',
      /must be TEAM\/APP/,
    ],
    [
      'app: baseimages/x, provider: github, secretFiles: [F/secret], url: "https://a.example.com/b"',
      /is reserved/,
    ],
    ['app: a/b, provider: svn, secretFiles: [F/secret], url: "https://a.example.com/b"', /github/],
    ['app: a/b, provider: github, secretFiles: [], url: "https://a.example.com/b"', /secretFiles/],
    [
      'app: a/b, provider: github, secretFiles: [F/1, F/2, F/3], url: "https://a.example.com/b"',
      /secretFiles/,
    ],
    [
      'app: a/b, provider: generic, secretFiles: [F/secret], url: "https://a.example.com/b", status: {tokenFile: F/token}',
      /nobody to report to/,
    ],
    [
      `${common}, url: "https://a.example.com/b", status: {tokenFile: F/token, api: "http://a.example.com"}`,
      /must be an address such as/,
    ],
  ])('%s stops the start with its place', async (rest, message) => {
    const fault = await faultOf(rest);

    expect(fault).toMatch(message);
    expect(fault).toMatch(/brickyard\.yaml:3:\d+/);
  });

  it.each([
    ['F/none', /cannot read F\/none/],
    ['F/short', /fewer than 16 characters/],
    ['F/lines', /must hold one line/],
  ])('with the secret in %s stops the start', async (file, message) => {
    expect(
      await faultOf(`app: a/b, provider: gitea, secretFiles: [${file}], url: "https://a.example.com/b"`),
    ).toMatch(message);
  });

  it('twice for the same app and repository is a fault', async () => {
    const one = `${common}, url: "https://a.example.com/b"`;

    expect(await faultOf(`${one}}\n    - {${one}`)).toMatch(/has this trigger twice/);
  });
});
