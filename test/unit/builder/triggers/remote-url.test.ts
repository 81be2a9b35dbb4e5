import { describe, expect, it } from 'vitest';
import { gitAccess } from '../../../../builder/triggers/git-access.ts';
import { parseGitVersion } from '../../../../builder/triggers/git-version.ts';
import { parseRemoteUrl } from '../../../../builder/triggers/remote-url.ts';
import { resolveHost } from '../../../../builder/triggers/resolve-host.ts';

function faultOf(text: string, options = {}): string {
  const url = parseRemoteUrl(text, options);
  return 'fault' in url
    ? `${url.fault}${url.hint === undefined ? '' : ` (${url.hint})`}`
    : `taken: ${url.href}`;
}

describe('the address of a repository elsewhere', () => {
  it.each([
    [
      'https://github.com/example/web.git',
      { protocol: 'https', host: 'github.com', port: 443, project: 'example/web' },
    ],
    ['https://git.example.com:8443/a/b/c', { host: 'git.example.com', port: 8443, project: 'a/b/c' }],
    ['ssh://git@git.example.com/srv/web.git', { protocol: 'ssh', user: 'git', port: 22, project: 'srv/web' }],
    ['ssh://git@[2001:db8::1]:2222/~web', { host: '2001:db8::1', port: 2222 }],
    ['HTTPS://GitHub.com/example/web', { protocol: 'https', host: 'github.com' }],
  ])('%s is taken', (text, expected) => {
    expect(parseRemoteUrl(text)).toMatchObject(expected);
  });

  it.each([
    ['ext::sh -c whoami% >&2', /is no address/],
    ['ext::sh', /must begin with https/],
    ['EXT::sh', /must begin with https/],
    ['fd::17', /must begin with https/],
    ['file:///etc', /uses file:\/\//],
    ['FILE:///etc', /uses file:\/\//],
    ['git://example.com/web', /uses git:\/\//],
    ['ftp://example.com/web', /uses ftp:\/\//],
    ['/srv/git/web.git', /must begin with https/],
    ['../web', /must begin with https/],
    ['-oProxyCommand=x', /must begin with https/],
    ['--upload-pack=touch /tmp/x', /is no address/],
    ['ssh://-oProxyCommand=x/web', /no address|no host/],
    ['ssh://git@-oProxyCommand=x/web', /no address|no host/],
    ['ssh://-git@example.com/web', /no user name/],
    ['ssh://git@example.com/-x', /path of a repository/],
    ['https://example.com/--upload-pack', /path of a repository/],
    ['https://example.com/../../etc', /taken: https:\/\/example.com\/etc/],
    ['ssh://git@example.com/a/../../etc', /taken: ssh:\/\/git@example.com\/etc/],
    ['https://example.com/%2e%2e/etc', /taken: https:\/\/example.com\/etc/],
    ['https://user:token@example.com/web', /no password or token \(use tokenFile\)/],
    ['https://token@example.com/web', /no password or token/],
    ['ssh://git:password@example.com/web', /no password/],
    ['http://example.com/web', /plain HTTP \(say insecureHttp/],
    ['https://example.com', /path of a repository/],
    ['https://example.com/a?x=1', /nothing behind the path/],
    ['https://example.com/a#main', /nothing behind the path/],
    ['https://example.com/a\nb', /is no address/],
    ["https://example.com/a'b", /is no address/],
    ['https://example.com/$(id)', /is no address/],
    ['https://exa mple.com/a', /is no address/],
    [
      'git@github.com:example/web.git',
      /must be an address \(write ssh:\/\/git@github.com\/example\/web.git\)/,
    ],
  ])('%s: %s', (text, message) => {
    expect(faultOf(text)).toMatch(message);
  });

  it('has at most 2000 characters', () => {
    expect(faultOf(`https://example.com/${'a'.repeat(3000)}`)).toBe('is no address');
  });

  it('of plain HTTP is taken where somebody said so', () => {
    expect(parseRemoteUrl('http://127.0.0.1:3000/a/b', { insecureHttp: true })).toMatchObject({ port: 3000 });
  });

  it.each([
    ['http://2130706433/a', '127.0.0.1'],
    ['http://0x7f000001/a', '127.0.0.1'],
    ['http://0177.0.0.1/a', '127.0.0.1'],
    ['http://127.1/a', '127.0.0.1'],
    ['http://[::ffff:169.254.169.254]/a', '::ffff:a9fe:a9fe'],
  ])('%s is what it means', (text, host) => {
    expect(parseRemoteUrl(text, { insecureHttp: true })).toMatchObject({ host });
  });
});

describe('the addresses of a host', () => {
  const lookup = (...addresses: string[]) => ({ lookup: async () => addresses });

  it('are those that it has, when all of them are public', async () => {
    const found = await resolveHost('git.example.com', {
      privateNetwork: false,
      ...lookup('8.8.8.8', '2606:4700::1'),
    });

    expect(found).toEqual(['8.8.8.8', '2606:4700::1']);
  });

  it.each([
    '127.0.0.1',
    '::1',
    '0.0.0.0',
    '10.0.0.1',
    '172.16.0.1',
    '192.168.1.1',
    '100.64.0.1',
    'fd00::1',
    '::ffff:127.0.0.1',
    '64:ff9b::a00:1',
  ])('%s is refused, and taken where the network is said to be private', async (address) => {
    await expect(
      resolveHost('git.example.com', { privateNetwork: false, ...lookup(address) }),
    ).rejects.toThrow(/not public: where it is yours, say privateNetwork: true/);
    expect(await resolveHost('git.example.com', { privateNetwork: true, ...lookup(address) })).toEqual([
      address,
    ]);
  });

  it.each(['169.254.169.254', 'fe80::1', '::ffff:169.254.169.254', '::ffff:a9fe:a9fe'])(
    '%s, where clouds hand out rights, is refused in any case',
    async (address) => {
      await expect(resolveHost('x', { privateNetwork: true, ...lookup(address) })).rejects.toThrow(
        /where no repository lives/,
      );
      await expect(resolveHost(address, { privateNetwork: true })).rejects.toThrow(
        /where no repository lives/,
      );
    },
  );

  it('public and private ones together are refused', async () => {
    await expect(
      resolveHost('x', { privateNetwork: false, ...lookup('8.8.8.8', '127.0.0.1') }),
    ).rejects.toThrow(/127\.0\.0\.1, which is not public/);
  });

  it('are asked for once, and git connects to these only', async () => {
    let asked = 0;
    const rebinding = async (): Promise<string[]> =>
      asked++ === 0 ? ['8.8.8.8', '2606:4700::1'] : ['127.0.0.1'];
    const remote = { url: 'https://git.example.com:8443/a/b.git', privateNetwork: false };

    const access = await gitAccess(remote, { lookup: rebinding });

    expect(asked).toBe(1);
    expect(access.settings).toContainEqual([
      'http.curloptResolve',
      'git.example.com:8443:8.8.8.8,[2606:4700::1]',
    ]);
    expect(access.variables).toEqual({ GIT_ALLOW_PROTOCOL: 'https' });
  });

  it('reach ssh with the keys of its name, and none of the files of whoever started the server', async () => {
    const remote = {
      url: 'ssh://git@git.example.com:2222/srv/web.git',
      privateNetwork: false,
      ssh: { keyFile: '/etc/brickyard/key', knownHostsFile: '/etc/brickyard/known_hosts' },
    };

    const { variables, url } = await gitAccess(remote, { lookup: async () => ['8.8.8.8'] });

    expect(url).toBe(remote.url);
    const command = variables['GIT_SSH_COMMAND'];
    for (const part of [
      `'-F' '/dev/null'`,
      `'HostName=8.8.8.8'`,
      `'HostKeyAlias=[git.example.com]:2222'`,
      `'StrictHostKeyChecking=yes'`,
      `'UserKnownHostsFile=/etc/brickyard/known_hosts'`,
      `'IdentityAgent=none'`,
      `'ProxyCommand=none'`,
    ]) {
      expect(command).toContain(part);
    }
    expect(variables['GIT_ALLOW_PROTOCOL']).toBe('ssh');
  });

  it('and a token reach git by its environment, never by its arguments', async () => {
    const remote = {
      url: 'https://git.example.com/a/b.git',
      privateNetwork: false,
      login: { username: 'x', token: 'TOKEN' },
    };

    const access = await gitAccess(remote, { lookup: async () => ['8.8.8.8'] });

    const header = `Authorization: Basic ${Buffer.from('x:TOKEN').toString('base64')}`;
    expect(access.settings).toContainEqual(['http.extraHeader', header]);
    expect(access.url).not.toContain('TOKEN');
  });
});

describe('the version of git', () => {
  it.each([
    ['git version 2.39.5', { version: '2.39.5', usable: true, patched: false }],
    ['git version 2.36.1', { usable: false }],
    ['git version 1.8.3.1', { usable: false }],
    ['git version 2.43.6', { usable: true, patched: false }],
    ['git version 2.43.7', { usable: true, patched: true }],
    ['git version 2.50.0', { patched: false }],
    ['git version 2.50.1.windows.1', { patched: true }],
    ['git version 2.51.0', { patched: true }],
    ['git version 3.0.0', { usable: true, patched: true }],
  ])('%s', (text, expected) => {
    expect(parseGitVersion(text)).toMatchObject(expected);
  });

  it('that is none is undefined', () => {
    expect(parseGitVersion('hub version 2.14.2')).toBeUndefined();
  });
});
