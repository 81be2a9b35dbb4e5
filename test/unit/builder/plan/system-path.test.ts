import { expect, it } from 'vitest';
import { systemPathFault } from '../../../../builder/plan/system-path.ts';

it.each(['/usr/bin/core', '/usr/local/bin/shop', '/opt/x/y', '/etc/shop/conf', '/var/lib/shop/x'])(
  '%s may hold a file of an app that is not rebased',
  (path) => {
    expect(systemPathFault(path)).toBeUndefined();
  },
);

it.each([
  ['/bin/sh', 'write "/usr/bin/sh"'],
  ['/lib64/ld-linux-x86-64.so.2', 'write "/usr/lib64/ld-linux-x86-64.so.2"'],
  ['/usr/local/bin/launcher', undefined],
  ['/usr/bin/tini', undefined],
  ['/etc/appimg/roles/web', undefined],
  ['/etc/passwd', undefined],
  ['/etc/shadow-', undefined],
  ['/etc/ld.so.preload', undefined],
  ['/var/lib/dpkg/status', undefined],
  ['/proc/self/mem', undefined],
  ['/home/other/x', undefined],
  ['/usr/', undefined],
  ['/x', undefined],
])('%s may not (builder.md 6, row 12)', (path, hint) => {
  expect(systemPathFault(path)).toMatchObject({ message: expect.any(String) });
  expect(systemPathFault(path)?.hint).toBe(hint);
});
