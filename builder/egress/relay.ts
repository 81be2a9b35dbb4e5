/**
 * A program of its own, which runs beside the commands of a build in a container that shares their network and nothing else: it listens
 * on loopback there, and hands every connection through its standard streams to the worker, which judges it. So that network has no way out but this one,
 * and neither address nor file of the worker is known in it.
 *
 * Each connection is a stream of HTTP/2: a slow reader then holds up only itself. Imports nothing but Node.js, as its container holds nothing else.
 */
import { connect } from 'node:http2';
import { createServer } from 'node:net';
import { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';

const [host = '127.0.0.1', port = '0', connections = '128'] = process.argv.slice(2);

// Types of Duplex.from know pairs of web streams only.
const session = connect('http://worker', {
  createConnection: () => Duplex.from({ readable: process.stdin, writable: process.stdout } as never),
  settings: { initialWindowSize: 1024 * 1024 },
});
const leave = (): void => process.exit(0);
session.on('close', leave);
session.on('error', leave);

const server = createServer({ allowHalfOpen: true }, (socket) => {
  const stream = session.request({ ':method': 'POST', ':path': '/' }, { endStream: false });
  Promise.all([pipeline(socket, stream), pipeline(stream, socket)]).catch(() => {
    socket.destroy();
    stream.close();
  });
});
// Beside what the worker allows, so that it can say why.
server.maxConnections = Number(connections) + 16;
server.listen(Number(port), host, () => {
  session.request({ ':method': 'POST', ':path': '/ready' }, { endStream: true }).resume();
});
