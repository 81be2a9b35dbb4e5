import { describe, expect, it } from 'vitest';
import { parsePurgeReference } from '../../../../cache-proxy/agent/purge.ts';
import { makePool } from '../../../helpers/pool.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const pool = {
  ...makePool({ folder: '/pool', listen: '127.0.0.1:5600', origin: ['http://origin.example:5000'] }),
  endpoint: 'https://pool.example',
  upstreams: [{ ns: 'docker.io', urls: ['https://registry-1.docker.io'], allow: [], deny: [] }],
};

describe('what is to be purged', () => {
  it.each([
    [digest, { digest }],
    [`team/app@${digest}`, { digest }],
    [`team/app:1@${digest}`, { digest }],
    ['team/app:1.0', { repository: 'team/app', tag: '1.0' }],
    ['team/app', { repository: 'team/app' }],
    ['pool.example/team/app:1', { repository: 'team/app', tag: '1' }],
    ['origin.example:5000/team/app:1', { repository: 'team/app', tag: '1' }],
    ['docker.io/library/debian:12', { repository: 'docker.io/library/debian', tag: '12' }],
  ])('understands %s', (text, target) => {
    expect(parsePurgeReference(text, pool)).toEqual(target);
  });

  it.each(['', 'Team App', 'team/../app:1', 'sha256:abc:d', 'team/app@sha256:abc'])('refuses %j', (text) => {
    expect(() => parsePurgeReference(text, pool)).toThrow('is no image: say team/app:tag');
  });

  it('names the registries that it knows where it does not know one', () => {
    expect(() => parsePurgeReference('quay.io/a/b:1', pool)).toThrow(
      /caches nothing of quay\.io; it knows .*docker\.io/,
    );
  });
});
