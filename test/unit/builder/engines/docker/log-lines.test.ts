import { expect, it } from 'vitest';
import { logLines } from '../../../../../builder/engines/docker/log-lines.ts';
import { createMasker, type Masker } from '../../../../../builder/secrets/masker.ts';

it('lines of both outputs come whole, however the transport cuts the frames', async () => {
  const bytes = Buffer.concat([
    frame(1, 'on'),
    frame(2, 'warning\nsec'),
    frame(1, 'e\ntwo\r\n'),
    frame(2, 'ond\n'),
    frame(1, 'end'),
  ]);

  for (const size of [1, 2, 3, 7, 8, 9, 1000]) {
    expect(await collect(cut(bytes, size))).toEqual(['warning', 'one', 'two', 'second', 'end']);
  }
});

it('a line without end is handed out in parts of 32 KiB (builder.md 6, row 27)', async () => {
  const lines = await collect(cut(frame(1, 'x'.repeat(100_000)), 1000));

  expect(lines.map((line) => line.length)).toEqual([32_768, 32_768, 32_768, 100_000 - 3 * 32_768]);
});

it('bytes that are no text are lines all the same, and as many', async () => {
  const bytes = Buffer.from(Array.from({ length: 256 * 300 }, (_, index) => (index * 7) % 256));
  const message = frame(1, '');
  message.writeUInt32BE(bytes.length, 4);

  const lines = await collect(cut(Buffer.concat([message, bytes]), 1000));

  expect(lines.length).toBe(bytes.filter((byte) => byte === 10).length + (bytes.at(-1) === 10 ? 0 : 1));
});

it('a line without end is not cut within a letter', async () => {
  const lines = await collect(cut(frame(1, `x${'漢'.repeat(30_000)}`), 1000));

  expect(lines.join('')).toBe(`x${'漢'.repeat(30_000)}`);
});

it('a progress bar that writes its line over and over is one line, however long it goes on', async () => {
  const states = Array.from({ length: 20_000 }, (_, state) => `${state} of 20000 \r`);
  const lines = await collect(cut(frame(1, `${states.join('')}\ndone\n`), 1000));

  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/19999 of 20000 $/);
  expect(lines[1]).toBe('done');
});

it('empty lines stay, and a stream that is cut short loses only its last frame', async () => {
  expect(await collect(cut(frame(1, '\n\na\n'), 4))).toEqual(['', '', 'a']);
  expect(await collect(cut(frame(1, 'abc\ndef').subarray(0, 13), 4))).toEqual(['abc', 'd']);
});

it('row 22: a secret is masked across frames and across the cut of a long line', async () => {
  const masker = createMasker(new Map([['token', Buffer.from('s3cr3t-value')]]));
  const bytes = Buffer.concat([
    frame(1, 'a s3cr3'),
    frame(2, 's3cr3t-'),
    frame(1, 't-value\n'),
    frame(2, 'other\n'),
    frame(1, `${'x'.repeat(32_760)}s3cr3t-value`),
  ]);

  for (const size of [1, 9, 100_000]) {
    expect(await collect(cut(bytes, size), masker)).toEqual([
      'a ***',
      's3cr3t-other',
      `${'x'.repeat(32_760)}***`,
    ]);
  }
});

function frame(stream: number, text: string): Buffer {
  const header = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Buffer, void, undefined> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

async function collect(chunks: AsyncIterable<Buffer>, masker?: Masker): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of logLines(chunks, masker)) lines.push(line);
  return lines;
}
