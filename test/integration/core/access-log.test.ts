import { request } from 'node:http';
import { Writable } from 'node:stream';
import { expect, it } from 'vitest';
import { createHttpServer } from '../../../core/http/http-server.ts';
import { createLogger } from '../../../core/log.ts';
import { createMetrics } from '../../../core/metrics.ts';
import { waitFor } from '../../helpers/process.ts';

interface Line {
  readonly path: string;
  readonly bytes: number;
}

it('the access log tells the bytes of each answer on a connection, also of one that was not read to its end', async () => {
  const lines: Line[] = [];
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as Line);
      done();
    },
  });
  const log = createLogger({ level: 'info', destination });
  const http = createHttpServer({ log, metrics: createMetrics(), accessLog: true });
  const size = 64 * 1024 * 1024;
  http.direct('/v2/', (incoming, response) => {
    http.observe(incoming, response, '/v2/…');
    response.writeHead(200, { 'Content-Length': incoming.url === '/v2/large' ? size : 100_000 });
    // A blob is sent piece by piece; what is not taken off is not counted.
    if (incoming.url === '/v2/large') response.write(Buffer.alloc(65_536));
    else response.end(Buffer.alloc(100_000));
  });
  const url = await http.app.listen({ host: '127.0.0.1', port: 0 });

  try {
    for (const _ of [1, 2]) await (await fetch(`${url}/v2/small`)).arrayBuffer();
    const leaving = request(`${url}/v2/large`, (response) => {
      response.once('data', () => leaving.destroy());
    });
    leaving.on('error', () => {});
    leaving.end();
    await waitFor(() => lines.length === 3, { what: 'three lines' });
  } finally {
    http.app.server.closeAllConnections();
    await http.app.close();
  }

  const [first, second, left] = lines.map(({ bytes }) => bytes);
  expect(first).toBeGreaterThan(100_000);
  expect(first).toBeLessThan(101_000);
  expect(second).toBe(first);
  expect(left).toBeGreaterThan(65_536);
  expect(left).toBeLessThan(1_000_000);
});
