import { describe, expect, it } from 'vitest';
import { parseRedisAddress } from '../../../../core/redis/redis-address.ts';

describe('parseRedisAddress', () => {
  it.each([
    ['redis://redis', { host: 'redis', port: 6379, tls: false, db: 0, name: 'redis:6379' }],
    ['redis://:p%40ss@h:1/3', { host: 'h', port: 1, db: 3, password: 'p@ss', username: undefined }],
    ['redis://me:50%@h/', { username: 'me', password: '50%', db: 0 }],
    ['rediss://[::1]:7', { host: '::1', port: 7, tls: true, name: '[::1]:7' }],
    ['unix:///run/redis%20a.sock', { host: undefined, path: '/run/redis a.sock', tls: false }],
  ])('reads %s', (text, expected) => {
    expect(parseRedisAddress(text)).toMatchObject(expected);
  });

  it.each([
    ['secret@redis:6379', /must be an address such as redis:/],
    ['http://:secret@redis', /must be an address such as redis:/],
    ['redis://:sec?ret@redis', /must be an address .*%XX/],
    ['redis://:secret@redis/0?tls=true', /without \? or #/],
    ['redis://:secret@redis/cache', /nothing but the number of a database/],
    ['redis:///0', /must name a host/],
    ['unix://secret', /must name a socket/],
    ['', /must be an address/],
  ])('tells what is wrong with %s, and does not repeat it', (text, message) => {
    const fault = parseRedisAddress(text);

    expect(fault).toMatch(message);
    expect(fault).not.toMatch(/secret|sec\?ret/);
  });
});
