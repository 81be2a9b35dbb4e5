import { describe, expect, it } from 'vitest';
import { serverUrl } from '../../../cli/credentials.ts';

describe('the server that a command talks to', () => {
  it.each([
    ['127.0.0.1:5000', 'http://127.0.0.1:5000'],
    ['localhost:5000', 'http://localhost:5000'],
    ['[::1]:5000', 'http://[::1]:5000'],
    ['registry.example.com', 'https://registry.example.com'],
    ['10.0.0.1:5000', 'https://10.0.0.1:5000'],
    ['localhost.example.com', 'https://localhost.example.com'],
    ['127.0.0.1@example.com', undefined],
    ['http://registry.example.com/', 'http://registry.example.com'],
    ['https://registry.example.com/path', undefined],
    ['nonsense://x', undefined],
  ])('%s is %s: without a scheme only this machine is spoken to in plain text', (written, url) => {
    if (url === undefined) expect(() => serverUrl({ env: {} }, written)).toThrow('is no server address');
    else expect(serverUrl({ env: {} }, written)).toBe(url);
  });

  it('is --server, else BRICKYARD_SERVER, else the one of this machine', () => {
    const env = { BRICKYARD_SERVER: 'https://a.example' };

    expect(serverUrl({ env }, 'https://b.example')).toBe('https://b.example');
    expect(serverUrl({ env })).toBe('https://a.example');
    expect(serverUrl({ env: {} })).toBe('http://127.0.0.1:5000');
  });
});
