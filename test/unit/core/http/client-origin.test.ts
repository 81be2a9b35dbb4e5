import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { createClientOrigin } from '../../../../core/http/client-origin.ts';

function request(headers: Record<string, string>, remoteAddress = '192.0.2.7'): IncomingMessage {
  return {
    headers,
    socket: { remoteAddress, localAddress: '127.0.0.1', localPort: 5000 },
  } as unknown as IncomingMessage;
}
const forwarded = {
  host: 'inner:5000',
  'x-forwarded-host': 'spoofed.test, registry.test',
  'x-forwarded-proto': 'https',
  'x-forwarded-for': '203.0.113.1, 203.0.113.9, 10.0.0.3',
};

describe('the origin that clients are told', () => {
  it('is the configured one, whatever the request says', () => {
    const origin = createClientOrigin({
      publicUrl: 'https://registry.example.com/',
      trustedProxies: ['192.0.2.7'],
    });
    expect(origin.publicOrigin(request(forwarded))).toBe('https://registry.example.com');
  });

  it('ignores X-Forwarded headers of whoever is no trusted proxy', () => {
    expect(createClientOrigin().publicOrigin(request(forwarded))).toBe('http://inner:5000');
  });

  it('believes the nearest value from a trusted proxy, also one seen as ::ffff:', () => {
    const origin = createClientOrigin({ trustedProxies: ['192.0.2.0/24'] });
    expect(origin.publicOrigin(request(forwarded))).toBe('https://registry.test');
    expect(origin.publicOrigin(request(forwarded, '::ffff:192.0.2.7'))).toBe('https://registry.test');
  });

  it.each(['evil"x', 'a b', 'a/b', 'a@b', '', 'a\r\nX: 1', '-a'])(
    'is the socket where Host is no host: %j',
    (host) => {
      expect(createClientOrigin().publicOrigin(request({ host }))).toBe('http://127.0.0.1:5000');
    },
  );

  it.each(['ftp://x', 'https://x/path', 'https://user@x', 'https://x?y'])(
    'cannot be configured as %s',
    (publicUrl) => {
      expect(() => createClientOrigin({ publicUrl })).toThrow(TypeError);
    },
  );

  it('cannot trust what is no address', () => {
    expect(() => createClientOrigin({ trustedProxies: ['proxy.test'] })).toThrow(TypeError);
  });
});

describe("a client's address", () => {
  it('is the peer, unless that is a trusted proxy; then the last hop that is none', () => {
    expect(createClientOrigin().address(request(forwarded))).toBe('192.0.2.7');
    const origin = createClientOrigin({ trustedProxies: ['192.0.2.7', '10.0.0.0/8'] });
    expect(origin.address(request(forwarded))).toBe('203.0.113.9');
    expect(origin.address(request({ 'x-forwarded-for': 'nonsense' }))).toBe('192.0.2.7');
  });
});
