import type { Provider, Trigger } from '../../../../builder/triggers/trigger.ts';
import type { RawDelivery } from '../../../../builder/triggers/verify-delivery.ts';
import { type Sent, secret } from './payloads.ts';

const urls: Readonly<Record<Provider, string>> = {
  github: 'https://github.com/example/web.git',
  gitlab: 'https://gitlab.example.com/mike/diaspora.git',
  gitea: 'https://gitea.example.com/group/shop.git',
  generic: 'ssh://git@git.example.com/srv/web.git',
};

export function trigger(provider: Provider, more: Partial<Trigger> & { url?: string } = {}): Trigger {
  const { url = urls[provider], ...rest } = more;
  return {
    team: 'shop',
    app: 'web',
    provider,
    remote: { url, privateNetwork: false },
    secrets: [secret],
    branches: ['**'],
    tags: ['**'],
    forks: 'never',
    ...rest,
  };
}

/** As Node hands it over. */
export function raw(
  provider: Provider,
  { headers, body }: Sent,
  more: Readonly<Record<string, string>> = {},
): RawDelivery {
  const all = { ...headers, ...more };
  return { provider, headers: all, rawHeaders: Object.entries(all).flat(), body };
}
