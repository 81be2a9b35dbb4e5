import { appendFile, readFile, rename, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LogTail, startLogTail } from '../../../../cache-proxy/agent/log-tail.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

const silent = { info() {}, warn() {}, error() {} };
/** Polls happen when a test says so. */
const pollMs = 3_600_000;

describe('following a log', () => {
  let folder: TempDirectory;
  let file: string;
  let lines: string[];
  let tail: LogTail | undefined;
  const start = async (more: { reopen?: () => void; rotateAt?: number } = {}): Promise<LogTail> => {
    tail = await startLogTail({ file, onLine: (line) => lines.push(line), log: silent, pollMs, ...more });
    return tail;
  };

  beforeEach(async () => {
    folder = await createTempDirectory('tail');
    file = join(folder.path, 'access.log');
    lines = [];
  });
  afterEach(async () => {
    await tail?.close();
    tail = undefined;
    await folder.remove();
  });

  it('gives lines that were added since it began, once each, and waits for the end of a line', async () => {
    await writeFile(file, 'before\n');
    const running = await start();

    await appendFile(file, 'one\ntw');
    await running.poll();
    expect(lines).toEqual(['one']);
    await appendFile(file, 'o\nthree\n');
    await running.poll();
    await running.poll();

    expect(lines).toEqual(['one', 'two', 'three']);
  });

  it('reads a file from its beginning that was not there when it began', async () => {
    const running = await start();
    await running.poll();

    await writeFile(file, 'first\n');
    await running.poll();

    expect(lines).toEqual(['first']);
  });

  it('begins anew where the file was cut', async () => {
    await writeFile(file, '');
    const running = await start();
    await appendFile(file, 'a long line of the past\nhalf a li');
    await running.poll();

    await truncate(file);
    await appendFile(file, 'new\n');
    await running.poll();

    expect(lines).toEqual(['a long line of the past', 'new']);
  });

  it('goes on with the new file when somebody renames it, and reads what is still written into the old one', async () => {
    await writeFile(file, '');
    const running = await start();
    await appendFile(file, 'one\n');
    await rename(file, `${file}.old`);
    await running.poll();
    await writeFile(file, 'three\n');
    await appendFile(`${file}.old`, 'two\n');
    await running.poll();

    await appendFile(`${file}.old`, 'late\n');
    await running.poll();

    expect(lines.sort()).toEqual(['late', 'one', 'three', 'two']);
  });

  it('renames a file that has become large, once, and says so to its writer', async () => {
    await writeFile(file, '');
    let reopened = 0;
    const running = await start({ reopen: () => (reopened += 1), rotateAt: 10 });
    await appendFile(file, '0123456789\n');
    await running.poll();
    expect(reopened).toBe(1);
    // The writer has not heard of it yet.
    await appendFile(`${file}.1`, 'more\n');
    await running.poll();
    await running.poll();
    expect(reopened).toBe(1);
    await writeFile(file, 'next\n');
    await running.poll();
    await appendFile(file, '0123456789\n');
    await running.poll();

    expect(reopened).toBe(2);
    expect(lines).toEqual(['0123456789', 'more', 'next', '0123456789']);
    expect(await readFile(`${file}.1`, 'utf8')).toBe('next\n0123456789\n');
    await expect(stat(file)).rejects.toThrow('ENOENT');
  });

  it('holds no line in memory that has no end', async () => {
    await writeFile(file, '');
    const running = await start();

    for (let part = 0; part < 4; part += 1) {
      await appendFile(file, 'x'.repeat(100_000));
      await running.poll();
    }
    await appendFile(file, 'end\nafter\n');
    await running.poll();

    expect(lines).toEqual(['after']);
  });

  it('reads the rest when it is closed', async () => {
    await writeFile(file, '');
    const running = await start();
    tail = undefined;

    await appendFile(file, 'last\n');
    await running.close();

    expect(lines).toEqual(['last']);
  });
});
