import type { Duplex } from 'node:stream';
import { request } from '../../../core/http/node-http.ts';

/**
 * Attaches to all standard streams of a container (Docker Engine API, containers/attach): what is written is its input, what is read are frames.
 * dockerode sends its options as the body of this request, which Podman takes for the first bytes of the input; and without a terminal nobody means keys by
 * what is written. Errors: that of the connection, or what the engine answered.
 */
export function attachDuplex(socketPath: string, container: string): Promise<Duplex> {
  const query = 'stream=1&stdin=1&stdout=1&stderr=1&detachKeys=';
  return new Promise((resolve, reject) => {
    const attach = request({
      socketPath,
      method: 'POST',
      path: `/containers/${encodeURIComponent(container)}/attach?${query}`,
      headers: { connection: 'Upgrade', upgrade: 'tcp', 'content-length': '0' },
    });
    attach.once('upgrade', (_, socket, head) => {
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    attach.once('response', (response) => {
      response.resume();
      reject(new Error(`(HTTP code ${response.statusCode}) the container cannot be attached to`));
    });
    attach.once('error', reject);
    attach.end();
  });
}
