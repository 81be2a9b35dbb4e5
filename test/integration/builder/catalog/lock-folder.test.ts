import { expect, it } from 'vitest';
import { lockFolder } from '../../../../builder/catalog/debian/lock-folder.ts';
import { createTempDirectory } from '../../../helpers/temp.ts';

it('lets one work in a folder at a time, and who gives up waiting keeps nobody out', async () => {
  await using folder = await createTempDirectory('lock');
  const { signal } = new AbortController();
  const order: string[] = [];
  const release = await lockFolder(folder.path, signal);
  const impatient = new AbortController();
  const given = lockFolder(folder.path, impatient.signal);
  const next = lockFolder(folder.path, signal).then((done) => {
    order.push('next');
    return done;
  });

  impatient.abort(new Error('enough'));
  await expect(given).rejects.toThrow('enough');
  order.push('released');
  await release();
  await (await next)();

  expect(order).toEqual(['released', 'next']);
  await (await lockFolder(folder.path, signal))();
});
