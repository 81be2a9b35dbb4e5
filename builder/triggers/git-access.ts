import type { FetchSource } from '../git/fetch-target.ts';
import { parseRemoteUrl, type RemoteUrl } from './remote-url.ts';
import { type Lookup, resolveHost } from './resolve-host.ts';
import type { TriggerRemote } from './trigger.ts';

/**
 * How git is to reach a trigger's repository: by the addresses that were looked at and no others, over that one transport, with that
 * one credential. Errors: HostRefused; an Error when the name could not be looked up.
 */
export async function gitAccess(
  remote: TriggerRemote,
  options: { readonly lookup?: Lookup } = {},
): Promise<Pick<FetchSource, 'url' | 'settings' | 'variables'>> {
  const url = parseRemoteUrl(remote.url, { insecureHttp: true });
  if ('fault' in url) throw new Error(`the address of a trigger ${url.fault}`);
  const addresses = await resolveHost(url.host, { privateNetwork: remote.privateNetwork, ...options });
  const common = { url: url.href };
  // Set, it is all that counts (git(1)); compared exactly, so `EXT::` is none of them.
  const variables = { GIT_ALLOW_PROTOCOL: url.protocol };
  if (url.protocol === 'ssh') {
    return { ...common, settings: [], variables: { ...variables, ...sshVariables(remote, url, addresses) } };
  }
  return { ...common, settings: httpSettings(remote, url, addresses), variables };
}

function httpSettings(
  remote: TriggerRemote,
  url: RemoteUrl,
  addresses: readonly string[],
): (readonly [string, string])[] {
  const pinned = addresses.map((address) => (address.includes(':') ? `[${address}]` : address)).join(',');
  const host = url.host.includes(':') ? `[${url.host}]` : url.host;
  const { login, caFile } = remote;
  return [
    ['http.curloptResolve', `${host}:${url.port}:${pinned}`],
    ...(caFile === undefined ? [] : ([['http.sslCAInfo', caFile]] as const)),
    ...(login === undefined
      ? []
      : ([
          [
            'http.extraHeader',
            `Authorization: Basic ${Buffer.from(`${login.username}:${login.token}`).toString('base64')}`,
          ],
        ] as const)),
  ];
}

/** ssh without the files and agents of whoever started the server. Paths were checked: no blank, quote or `%` in them. */
function sshVariables(
  { ssh }: TriggerRemote,
  url: RemoteUrl,
  addresses: readonly string[],
): Record<string, string> {
  const alias = url.port === 22 ? url.host : `[${url.host}]:${url.port}`;
  const options = [
    'BatchMode=yes',
    'StrictHostKeyChecking=yes',
    `UserKnownHostsFile=${ssh?.knownHostsFile ?? '/dev/null'}`,
    'GlobalKnownHostsFile=/dev/null',
    'UpdateHostKeys=no',
    'VerifyHostKeyDNS=no',
    'IdentitiesOnly=yes',
    `IdentityFile=${ssh?.keyFile ?? '/dev/null'}`,
    'IdentityAgent=none',
    'PreferredAuthentications=publickey',
    `HostName=${addresses[0] ?? ''}`,
    // Keys are known by the name, whatever the address.
    `HostKeyAlias=${alias}`,
    'CheckHostIP=no',
    'ProxyCommand=none',
    'ProxyJump=none',
    'ControlMaster=no',
    'ControlPath=none',
    'ForwardAgent=no',
    'ForwardX11=no',
    'ClearAllForwardings=yes',
    'PermitLocalCommand=no',
    'SendEnv=none',
    'ConnectTimeout=20',
    'ServerAliveInterval=20',
    'ServerAliveCountMax=3',
  ];
  const words = ['ssh', '-F', '/dev/null', '-T', ...options.flatMap((option) => ['-o', option])];
  // git gives this line to a shell.
  return { GIT_SSH_COMMAND: words.map((word) => `'${word}'`).join(' '), GIT_SSH_VARIANT: 'ssh' };
}
