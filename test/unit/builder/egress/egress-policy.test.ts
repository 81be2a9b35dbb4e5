import { describe, expect, it } from 'vitest';
import { createEgressPolicy, parseEgressHost } from '../../../../builder/egress/egress-policy.ts';

describe('an entry of allow', () => {
  it.each([
    ['registry.example.com', { host: 'registry.example.com', below: false, port: undefined }],
    ['Nexus.Example.COM.', { host: 'nexus.example.com', below: false, port: undefined }],
    ['nexus:8081', { host: 'nexus', below: false, port: 8081 }],
    ['*.example.com', { host: 'example.com', below: true, port: undefined }],
    ['*.example.com:8443', { host: 'example.com', below: true, port: 8443 }],
    ['10.1.2.3:8081', { host: '10.1.2.3', below: false, port: 8081 }],
    ['fd00::1', { host: 'fd00::1', below: false, port: undefined }],
    ['[fd00::1]:8081', { host: 'fd00::1', below: false, port: 8081 }],
  ])('%s is understood', (text, expected) => {
    expect(parseEgressHost(text)).toEqual(expected);
  });

  it.each([
    '',
    '*',
    '*.com',
    '*.10.0.0.1',
    'https://example.com',
    'a/b',
    'a b',
    'a:0',
    'a:65536',
    'a:b',
    'a.*.com',
    '-a',
    'user@host',
    '10.0.0.0/8',
  ])('%j is none', (text) => {
    expect(parseEgressHost(text)).toBeUndefined();
  });
});

const rules = {
  allow: [
    'listed.example',
    '*.corp.example',
    'odd.example:8443',
    '10.9.9.9',
    'localhost:4873',
    '169.254.1.1',
  ],
  mirrors: ['http://nexus.corp:8081/npm/', 'https://pypi.corp/simple'],
};

describe('network: proxy', () => {
  const policy = createEgressPolicy('proxy', rules);

  it.each([
    ['listed.example', 443],
    ['LISTED.example.', 80],
    ['a.b.corp.example', 443],
    ['odd.example', 8443],
    ['nexus.corp', 8081],
    ['pypi.corp', 443],
    ['10.9.9.9', 80],
  ])('reaches %s:%d', (host, port) => {
    expect(policy.refusal(host, port)).toBeUndefined();
  });

  it.each([
    ['example.com', 443],
    ['listed.example.evil.example', 443],
    ['evillisted.example', 443],
    ['corp.example', 443],
    ['notcorp.example', 443],
    ['listed.example', 22],
    ['odd.example', 443],
    ['nexus.corp', 80],
    ['8.8.8.8', 443],
  ])('does not reach %s:%d, and says who can change that', (host, port) => {
    expect(policy.refusal(host, port)).toContain('builder.sandbox.egress.allow');
  });
});

describe('network: open', () => {
  const policy = createEgressPolicy('open', rules);

  it.each([
    ['example.com', 443],
    ['example.com', 80],
    ['8.8.8.8', 443],
    ['2606:4700::1111', 443],
    ['nexus.corp', 8081],
  ])('reaches %s:%d', (host, port) => {
    expect(policy.refusal(host, port)).toBeUndefined();
  });

  it.each([
    ['example.com', 22],
    ['example.com', 25],
    ['127.0.0.1', 80],
    ['[::1]', 80],
    ['169.254.169.254', 80],
    ['10.0.0.1', 443],
    ['::ffff:10.0.0.1', 443],
  ])('does not reach %s:%d', (host, port) => {
    expect(policy.refusal(host, port)).toBeDefined();
  });
});

describe.each(['proxy', 'open'] as const)('the address that a name has, with network: %s,', (network) => {
  const policy = createEgressPolicy(network, rules);

  it.each([
    ['listed.example', 443, '93.184.216.34', true],
    ['listed.example', 443, '10.1.1.1', true],
    ['listed.example', 443, 'fd00::7', true],
    ['a.corp.example', 443, '192.168.7.7', true],
    ['nexus.corp', 8081, '172.16.0.9', true],
    ['10.9.9.9', 80, '10.9.9.9', true],
    ['localhost', 4873, '127.0.0.1', true],
    // Whoever holds the name can make it mean this.
    ['listed.example', 443, '127.0.0.1', false],
    ['listed.example', 443, '::1', false],
    ['listed.example', 443, '169.254.169.254', false],
    ['listed.example', 443, 'fe80::1', false],
    ['listed.example', 443, '0.0.0.0', false],
    ['listed.example', 443, '::ffff:127.0.0.1', false],
    ['listed.example', 443, '64:ff9b::7f00:1', false],
    ['a.corp.example', 443, '127.0.0.1', false],
    // Not listed.
    ['example.com', 443, '10.1.1.1', false],
    ['2130706433', 80, '127.0.0.1', false],
    ['0x7f.1', 80, '127.0.0.1', false],
    ['localhost', 80, '127.0.0.1', false],
    ['169.254.169.254', 80, '169.254.169.254', false],
    // Somebody named exactly this address.
    ['169.254.1.1', 80, '169.254.1.1', true],
  ])('%s:%d → %s is %s', (host, port, address, expected) => {
    expect(policy.mayConnect(host, port, address)).toBe(expected);
  });
});
