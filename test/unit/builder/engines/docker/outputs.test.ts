import { describe, expect, it } from 'vitest';
import { checkOutputs, outputsArchive } from '../../../../../builder/engines/docker/outputs.ts';
import { tarEnd, tarFile, tarHeader } from '../../../../../builder/engines/docker/tar-file.ts';
import type { BuildPlan, BuildStep } from '../../../../../builder/plan/plan.ts';
import { createSecretFinder } from '../../../../../builder/secrets/find-secret.ts';
import { JobFailed } from '../../../../../core/queue/job-queue.ts';
import { digestOf } from '../../../../../oci/digest.ts';
import type { LayerEntry } from '../../../../../oci/layer/entry.ts';
import { readTar } from '../../../../../oci/layer/tar-reader.ts';

const owner = { uid: 10001, gid: 10001 };
const root: LayerEntry = { type: 'directory', path: 'app', mode: 0o755, ...owner };

describe('what a container hands out is refused when', () => {
  it.each<[string, LayerEntry[], string]>([
    ['a name climbs out', [file('app/../../etc/passwd')], 'cannot enter an image'],
    ['a name is absolute', [file('/app/x')], 'not in the workspace'],
    ['a name lies beside the workspace', [file('apple/x')], 'not in the workspace'],
    ['a name is a whiteout', [file('app/.wh..wh..opq')], '".wh."'],
    ['a hard link goes outside', [link('app/x', 'etc/shadow')], 'not in the workspace'],
    [
      'a hard link comes before its file',
      [link('app/x', 'app/y'), file('app/y')],
      'hard link to something outside',
    ],
    ['a file lies below a link', [symlink('app/d', '/etc'), file('app/d/passwd')], 'which is a symlink'],
    ['a name comes twice', [file('app/x'), symlink('app/x', '/etc')], 'would overwrite'],
  ])('%s', async (_, entries, message) => {
    const failed: unknown = await checkOutputs(input(archive(entries))).catch((error: unknown) => error);

    expect(failed).toBeInstanceOf(JobFailed);
    expect((failed as Error).message).toContain(message);
  });

  it.each([
    ['character device', '3'],
    ['block device', '4'],
    ['fifo', '6'],
    ['sparse file', 'S'],
    ['link without a target', '1'],
    ['volume label', 'V'],
  ])('an entry is a %s', async (_, flag) => {
    const failed: unknown = await checkOutputs(input([Buffer.concat([header(flag), tarEnd()])])).catch(
      (error: unknown) => error,
    );

    expect(failed).toBeInstanceOf(JobFailed);
  });

  it('it ends in the middle', async () => {
    const whole = Buffer.concat(await all(archive([root, file('app/x', 'content')])));

    await expect(checkOutputs(input([whole.subarray(0, 1100)]))).rejects.toThrow('cut short');
  });

  it('it holds more entries or bytes than allowed', async () => {
    const many = archive([file('app/1'), file('app/2'), file('app/3')]);

    await expect(checkOutputs({ ...input(many), limits: { entries: 2, bytes: 1e9 } })).rejects.toThrow(
      'more than 2 entries',
    );

    const large = archive([file('app/1', 'x'.repeat(600)), file('app/2', 'x'.repeat(600))]);

    await expect(checkOutputs({ ...input(large), limits: { entries: 9, bytes: 1000 } })).rejects.toThrow(
      'more than 1000 bytes',
    );
  });
});

it('what is not declared may be anything and stays behind', async () => {
  const entries = [root, file('app/.wh.x'), link('app/hard', 'app/none'), file('app/out', 'kept')];
  const wanted = { ...input(archive(entries)), step: step({ out: '/home/app/out' }) };

  await checkOutputs(wanted);

  expect(await names(outputsArchive({ ...wanted, open: opener(archive(entries)) }))).toEqual([
    'home/app/out',
  ]);
});

it('names of any bytes keep them, under targets of any letters', async () => {
  const latin1 = 'app/d/caf\xe9';
  const utf8 = Buffer.from('app/d/grüße').toString('latin1');
  const wanted = { ...input(archive([])), step: step({ d: '/home/app/ö' }) };
  const entries = [{ ...root, path: 'app/d' } as LayerEntry, file(latin1), file(utf8)];

  const place = Buffer.from('home/app/ö').toString('latin1');
  expect(await names(outputsArchive({ ...wanted, open: opener(archive(entries)) }))).toEqual([
    place,
    expect.stringContaining('caf\xe9'),
    `${place}/${Buffer.from('grüße').toString('latin1')}`,
  ]);
});

describe('row 22: a secret among the outputs', () => {
  const finder = createSecretFinder(new Map([['npm', Buffer.from('s3cr3t-value')]]));

  it.each<[string, LayerEntry, string]>([
    ['a file', file('app/.npmrc', 'token=s3cr3t-value'), 'output ".npmrc" holds the secret "npm"'],
    ['a name', file('app/s3cr3t-value'), 'the name or the target of an output holds the secret "npm"'],
    ['a link', symlink('app/x', 'a/s3cr3t-value'), 'the name or the target of an output holds'],
  ])('in %s is a fault that does not repeat it', async (_, entry, message) => {
    const all = { ...input(archive([])), finder, open: async () => archive([root, entry]) };

    const failed: unknown = await checkOutputs(all)
      .then(() => names(outputsArchive(all)))
      .catch((error: unknown) => error);

    expect(failed).toBeInstanceOf(JobFailed);
    expect((failed as Error).message).toContain(message);
    expect((failed as Error).message).not.toContain('s3cr3t-value');
  });

  it('in a file that stays behind is none', async () => {
    const entries = [root, file('app/.npmrc', 's3cr3t-value'), file('app/out', 'fine')];
    const open = async () => archive(entries);
    const wanted = { ...input(archive([])), finder, step: step({ out: '/home/app/out' }), open };

    await checkOutputs(wanted);

    expect(await names(outputsArchive(wanted))).toEqual(['home/app/out']);
  });
});

function file(path: string, content = ''): LayerEntry {
  return { type: 'file', path, mode: 0o644, content: Buffer.from(content), ...owner };
}

/** A header of this type with a true checksum. */
function header(flag: string): Buffer {
  const block = tarHeader(file('app/x'));
  block.write(flag, 156);
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

function symlink(path: string, target: string): LayerEntry {
  return { type: 'symlink', path, target, ...owner };
}

function link(path: string, target: string): LayerEntry {
  return { type: 'hardlink', path, target, mode: 0o644, sha256: Buffer.alloc(32), ...owner };
}

async function* archive(entries: readonly LayerEntry[]): AsyncGenerator<Buffer, void, undefined> {
  for (const entry of entries) {
    if (entry.type === 'file') yield* tarFile(entry.path, entry.content as Buffer);
    else yield tarHeader(entry);
  }
  yield tarEnd();
}

function input(chunks: AsyncIterable<Buffer> | Buffer[]): Parameters<typeof checkOutputs>[0] {
  return { plan: plan(), step: step({}), limits: { entries: 100, bytes: 1_000_000 }, open: opener(chunks) };
}

function opener(chunks: AsyncIterable<Buffer> | Buffer[]): () => Promise<AsyncIterable<Uint8Array>> {
  return async () =>
    (async function* () {
      yield* chunks;
    })();
}

function step(outputs: Record<string, string>): BuildStep {
  return { base: plan().base, commands: ['true'], outputs, network: 'none', timeoutSeconds: 60 };
}

function plan(): BuildPlan {
  return {
    repository: 'team/app',
    appname: 'app',
    base: { name: 'base', repository: 'baseimages/base', digest: digestOf(''), launcher: true },
    directory: '/home/app',
    source: { include: ['**'], exclude: [] },
    roles: [],
    environment: {},
    labels: {},
    volumes: [],
  };
}

async function all<T>(chunks: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const chunk of chunks) list.push(chunk);
  return list;
}

async function names(chunks: AsyncIterable<Buffer>): Promise<string[]> {
  const list: string[] = [];
  for await (const { entry } of readTar(chunks)) list.push(entry.path.replace(/\/$/, ''));
  return list;
}
