import { describe, expect, it } from 'vitest';
import { createRedirectPolicy } from '../../../../registry/http/redirect-policy.ts';

const inside = '10.1.2.3';
const outside = '203.0.113.9';

describe('the redirect policy', () => {
  it('redirects everybody where it says nothing more', () => {
    const policy = createRedirectPolicy();

    expect(policy({ client: outside, method: 'GET', size: 1 })).toBe(true);
    expect(policy({ client: outside, method: 'HEAD' })).toBe(true);
  });

  it.each([
    [inside, true],
    ['::ffff:10.1.2.3', true],
    ['2001:db8:1::7', true],
    [outside, false],
    ['2001:db8:2::7', false],
    ['10.99.0.1', false],
    ['unknown', false],
    ['', false],
  ])('sends %s to the store: %s', (client, expected) => {
    const networks = ['10.0.0.0/8', '2001:db8:1::/48'];
    const policy = createRedirectPolicy({ networks, exceptNetworks: ['10.99.0.0/16'] });

    expect(policy({ client, method: 'GET', size: 1 })).toBe(expected);
  });

  it('leaves out clients that cannot reach the store, and nobody else', () => {
    const policy = createRedirectPolicy({ exceptNetworks: ['203.0.113.0/24'] });

    expect(policy({ client: outside, method: 'GET' })).toBe(false);
    expect(policy({ client: inside, method: 'GET' })).toBe(true);
  });

  it('serves small blobs itself, and does not judge a size that it does not know yet', () => {
    const policy = createRedirectPolicy({ minSize: 1000 });

    expect(policy({ client: inside, method: 'GET', size: 999 })).toBe(false);
    expect(policy({ client: inside, method: 'GET', size: 1000 })).toBe(true);
    expect(policy({ client: inside, method: 'GET' })).toBe(true);
  });

  it('answers HEAD itself where it is told to', () => {
    const policy = createRedirectPolicy({ head: false });

    expect(policy({ client: inside, method: 'HEAD' })).toBe(false);
    expect(policy({ client: inside, method: 'GET' })).toBe(true);
  });

  it('refuses what is no network', () => {
    expect(() => createRedirectPolicy({ networks: ['intranet'] })).toThrow(TypeError);
    expect(() => createRedirectPolicy({ exceptNetworks: ['10.0.0/8'] })).toThrow(TypeError);
  });
});
