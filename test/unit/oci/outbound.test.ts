import { describe, expect, it } from 'vitest';
import { createOutbound, isPublicAddress } from '../../../oci/client/outbound.ts';

describe('isPublicAddress', () => {
  it.each(['8.8.8.8', '172.15.0.1', '172.32.0.1', '100.63.0.1', '223.255.255.255', '2606:4700::1'])(
    '%s is one',
    (address) => {
      expect(isPublicAddress(address)).toBe(true);
    },
  );

  it.each([
    '127.0.0.1',
    '127.255.255.254',
    '0.0.0.0',
    '10.1.2.3',
    '100.64.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:169.254.169.254',
    '64:ff9b::a9fe:a9fe',
    '2002:7f00:1::',
    'fc00::1',
    'fd00:ec2::254',
    'fe80::1',
    'ff02::1',
    'localhost',
    '',
  ])('%s is none', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });
});

describe('where a registry may lead a service', () => {
  const outbound = createOutbound(new URL('https://registry.test'), {
    realmHosts: ['auth.test', 'tokens.test:8443'],
    redirectHosts: ['10.0.0.5:9000'],
  });

  it.each(['https://registry.test/token', 'https://auth.test/token', 'https://tokens.test:8443/'])(
    'asks for tokens at %s',
    (realm) => {
      expect(outbound.mayAskForToken(new URL(realm))).toBe(true);
      expect(outbound.mayKnowPassword(new URL(realm))).toBe(true);
    },
  );

  it.each([
    'http://registry.test/token',
    'https://registry.test:444/token',
    'https://registry.test.evil.test/token',
    'https://evil.test/registry.test',
    'https://auth.test@evil.test/',
    'https://sub.auth.test/',
    'https://tokens.test/',
    'http://auth.test/',
    'https://169.254.169.254/',
  ])('tells neither password nor scope to %s', (realm) => {
    expect(outbound.mayAskForToken(new URL(realm))).toBe(false);
    expect(outbound.mayKnowPassword(new URL(realm))).toBe(false);
  });

  it.each(['https://cdn.test/x', 'https://8.8.8.8/x', 'https://registry.test/y', 'https://10.0.0.5:9000/b'])(
    'follows a redirect to %s',
    (target) => {
      expect(outbound.mayRedirect(new URL(target))).toBe(true);
    },
  );

  it.each([
    'http://cdn.test/x',
    'http://registry.test/x',
    'http://169.254.169.254/latest/meta-data',
    'https://169.254.169.254/',
    'https://127.0.0.1/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://[::1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://10.0.0.6/',
    'ftp://cdn.test/x',
  ])('follows none to %s', (target) => {
    expect(outbound.mayRedirect(new URL(target))).toBe(false);
  });

  it('connects to no private address under a name that nobody listed', () => {
    expect(outbound.mayConnect('cdn.test', '10.0.0.5')).toBe(false);
    expect(outbound.mayConnect('cdn.test', '8.8.8.8')).toBe(true);
    expect(outbound.mayConnect('registry.test', '10.0.0.5')).toBe(true);
    expect(outbound.mayConnect('auth.test', '127.0.0.1')).toBe(true);
  });

  it('follows a registry on loopback only where it is itself', () => {
    const local = createOutbound(new URL('http://127.0.0.1:5001'), { realmHosts: [], redirectHosts: [] });

    expect(local.mayRedirect(new URL('http://127.0.0.1:9000/blob'))).toBe(true);
    expect(local.mayRedirect(new URL('http://127.0.0.2:9000/blob'))).toBe(false);
    expect(local.mayRedirect(new URL('http://cdn.test/blob'))).toBe(false);
    expect(local.mayAskForToken(new URL('http://127.0.0.1:9000/token'))).toBe(false);
  });
});
