import { describe, expect, it } from 'vitest';
import { parseMemory, parsePort, parseSeconds, parseSignal } from '../../../../builder/appfile/values.ts';

describe('parsePort', () => {
  it.each([
    [5000, { port: 5000, protocol: 'tcp' }],
    ['5000', { port: 5000, protocol: 'tcp' }],
    ['5000/tcp', { port: 5000, protocol: 'tcp' }],
    ['53/udp', { port: 53, protocol: 'udp' }],
    ['8080/http', { port: 8080, protocol: 'tcp', scheme: 'http' }],
  ])('reads %j', (written, port) => {
    expect(parsePort(written)).toEqual(port);
  });

  it.each([
    ['22:22', /ports of the host/],
    ['127.0.0.1:80:80', /ports of the host/],
    [0, /1 to 65535/],
    [65536, /1 to 65535/],
    [80.5, /must be a port/],
    ['80/htpp', /unknown protocol "htpp"/],
    ['80/__proto__', /must be a port/],
    ['80/constructor', /unknown protocol/],
    ['', /must be a port/],
    ['８０', /must be a port/],
  ])('refuses %j', (written, message) => {
    expect(parsePort(written)).toMatch(message);
  });
});

it.each([
  ['512MB', 512 * 1024 ** 2],
  ['512 MiB', 512 * 1024 ** 2],
  ['1.5gb', 1.5 * 1024 ** 3],
  ['100B', 100],
  ['512m', undefined],
  ['512', undefined],
  ['0MB', undefined],
  ['-1MB', undefined],
  ['1e9GB', undefined],
  ['999999999TB', undefined],
])('parseMemory(%j) is %j', (text, bytes) => {
  expect(parseMemory(text)).toBe(bytes);
});

it.each([
  ['90s', 90],
  ['15m', 900],
  ['2h', 7200],
])('parseSeconds(%j) is %j', (text, seconds) => {
  expect(parseSeconds(text)).toBe(seconds);
});

it.each([
  ['TERM', 'SIGTERM'],
  ['sigint', 'SIGINT'],
  ['RTMIN+3', 'SIGRTMIN+3'],
  ['HUP INT', undefined],
  ['', undefined],
  ['9', undefined],
])('parseSignal(%j) is %j', (text, signal) => {
  expect(parseSignal(text)).toBe(signal);
});
