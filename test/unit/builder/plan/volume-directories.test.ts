import { expect, it } from 'vitest';
import { volumeDirectories } from '../../../../builder/plan/volume-directories.ts';

it.each([
  '/data',
  '/home/shop/data',
  '/var/lib/shop',
  '/var/log/shop',
  '/srv/shop',
  '/opt/shop/state',
  '/mnt/shop',
  '/var/www/html',
])('a volume at %s is a directory of the app', (path) => {
  expect(volumeDirectories([path])).toEqual([path]);
});

it.each([
  '/tmp',
  '/var',
  '/var/lib',
  '/var/log',
  '/var/tmp',
  '/run',
  '/srv',
  '/opt',
  '/mnt',
  '/root',
  '/home',
  '/var/lib/dpkg',
  '/var/lib/dpkg/info',
  '/tmp/shop',
  '/root/shop',
  '/var/tmp/shop',
  '/var/cache/apt',
  '/run/lock',
])('a volume at %s leaves the directory of the system as it is', (path) => {
  expect(volumeDirectories([path])).toEqual([]);
});

it('equal sets of volumes give equal lists', () => {
  expect(volumeDirectories(['/data', '/cache'])).toEqual(volumeDirectories(['/cache', '/data']));
});
