import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { createIdleGuard } from '../../../core/http/idle-guard.ts';
import { openSocket } from '../../helpers/raw-http.ts';

describe('the guard of idle connections', () => {
  it('leaves it to the server to end a connection that nobody uses after an answer', async () => {
    const idle = createIdleGuard(60_000);
    const server = createServer({ keepAliveTimeout: 100 }, (request, response) => {
      idle.watchBody(request);
      idle.watchResponse(response);
      response.end('ok');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const client = await openSocket(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
      client.resume();
      const closed = once(client, 'close');

      client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');

      expect(await closed).toEqual([false]);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }, 30_000);
});
