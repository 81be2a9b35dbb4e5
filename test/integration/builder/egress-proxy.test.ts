import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createEgressPolicy } from '../../../builder/egress/egress-policy.ts';
import { createEgressProxy, type EgressProxy, egressLimits } from '../../../builder/egress/egress-proxy.ts';

let target: Server;
let targetPort: number;
let front: Server;
let proxy: EgressProxy;
let lines: string[];
let asked: string[];
let answers: Record<string, string[]>;

beforeAll(async () => {
  target = createServer((incoming, response) => {
    if (incoming.url === '/echo') {
      response.writeHead(200, { 'x-seen': JSON.stringify(incoming.headers) });
      incoming.pipe(response);
    } else if (incoming.url === '/away') {
      response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data' }).end();
    } else response.end(`hello ${incoming.headers.host}`);
  });
  targetPort = await listen(target);
  front = createTcpServer({ allowHalfOpen: true }, (socket) => proxy.accept(socket));
  await listen(front);
});

afterAll(() => {
  target.close();
  front.close();
});

beforeEach(() => {
  lines = [];
  asked = [];
  answers = {};
  open();
});

function open(limits = egressLimits, network: 'proxy' | 'open' = 'proxy'): void {
  proxy = createEgressProxy({
    policy: createEgressPolicy(network, {
      allow: [`localhost:${targetPort}`, `rebound.example:${targetPort}`, 'nowhere.example', '127.0.0.1:1'],
      mirrors: [],
    }),
    limits,
    log: (line) => lines.push(line),
    async resolve(host) {
      asked.push(host);
      const found = answers[host] ?? (host === 'localhost' ? ['127.0.0.1'] : []);
      if (found.length === 0) throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
      return found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    },
  });
}

it('a plain request is forwarded without what is meant for the proxy, and its answer comes back', async () => {
  const answer = await get(`http://localhost:${targetPort}/echo`, {
    method: 'POST',
    headers: { 'proxy-authorization': 'Basic x', te: 'trailers', 'x-own': '1', host: 'other.example' },
    body: 'x'.repeat(200_000),
  });

  expect(answer.status).toBe(200);
  expect(answer.body).toHaveLength(200_000);
  const seen = JSON.parse(String(answer.headers['x-seen'])) as Record<string, string>;
  expect(seen).toMatchObject({ host: `localhost:${targetPort}`, 'x-own': '1' });
  expect(seen).not.toHaveProperty('proxy-authorization');
  expect(seen).not.toHaveProperty('te');
});

it('CONNECT opens a tunnel, whose halves close by themselves', async () => {
  const { status, socket } = await tunnel(`localhost:${targetPort}`);
  expect(status).toBe(200);

  socket.end('GET / HTTP/1.1\r\nhost: inside.example\r\nconnection: close\r\n\r\n');

  expect(await text(socket)).toContain('hello inside.example');
  proxy.close();
  expect(lines.at(-1)).toMatch(/^network: reached localhost:\d+ \(1, 1 kB\)$/);
});

it('who is not listed is refused in words, in the answer and once in the log', async () => {
  const first = await tunnel('evil.example:443');
  expect(first.status).toBe(403);
  expect(await text(first.socket)).toContain('builder.sandbox.egress.allow');
  const second = await get('http://evil.example:443/');

  expect(second.status).toBe(403);
  expect(lines).toEqual([
    expect.stringMatching(/^network: evil\.example:443 was not reached: "network: proxy"/),
  ]);
  expect(asked).toEqual([]);
});

it('a name that leads to this machine is refused although it is listed, and is asked for once only', async () => {
  // The second answer is what a rebinding name server would give.
  answers['rebound.example'] = ['127.0.0.1'];
  const refused = await tunnel(`rebound.example:${targetPort}`);

  expect(refused.status).toBe(403);
  expect(asked).toEqual(['rebound.example']);
  expect(lines[0]).toContain('its address is not public');
});

it.each(['127.0.0.1', '[::1]', '169.254.169.254', '2130706433', '0177.0.0.1', '[::ffff:127.0.0.1]', '0'])(
  'with network: open, %s is refused however it is written',
  async (host) => {
    open(egressLimits, 'open');
    const plain = host.replace(/^\[|\]$/g, '');
    // As the system's resolver reads numbers.
    answers[plain] = ['127.0.0.1'];

    expect((await tunnel(`${host}:80`)).status).toBe(403);
    expect((await get(`http://${host}/`)).status).toBe(403);
  },
);

it('a redirect to where nobody may go is the client’s to follow, through the proxy again', async () => {
  const answer = await get(`http://localhost:${targetPort}/away`);
  expect(answer.status).toBe(302);

  expect((await get(String(answer.headers['location']))).status).toBe(403);
});

it.each([
  ['a name that nobody knows', 'nowhere.example:443', /its name could not be resolved \(ENOTFOUND\)/],
  ['a port where nobody listens', '127.0.0.1:1', /it did not answer \(ECONNREFUSED\)/],
])('%s is a bad gateway, and the log says why', async (_, authority, reason) => {
  expect((await tunnel(authority)).status).toBe(502);
  expect(lines[0]).toMatch(reason);
});

it.each([
  'GET / HTTP/1.1',
  'GET https://localhost/ HTTP/1.1',
  'CONNECT localhost HTTP/1.1',
  'CONNECT a@b:80 HTTP/1.1',
])('%j is a bad request', async (line) => {
  const socket = await dial();
  socket.write(`${line}\r\nhost: x\r\n\r\n`);

  expect(await text(socket)).toMatch(/^HTTP\/1.1 400 /);
});

it('one connection too many is turned away, the others go on', async () => {
  open({ ...egressLimits, connections: 2 });
  const held = [await tunnel(`localhost:${targetPort}`), await tunnel(`localhost:${targetPort}`)];

  const third = await dial();
  third.on('error', () => {});
  third.write('CONNECT localhost:80 HTTP/1.1\r\n\r\n');
  await once(third, 'close');

  expect(lines).toEqual([expect.stringContaining('more than 2 connections at once')]);
  for (const { socket } of held) {
    socket.end('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    expect(await text(socket)).toContain('hello x');
  }
});

it('bytes over the limit end all connections, and further ones are refused', async () => {
  open({ ...egressLimits, bytes: 10_000 });
  await get(`http://localhost:${targetPort}/echo`, { method: 'POST', body: 'x'.repeat(200_000) }).catch(
    () => {},
  );
  const { socket } = await tunnel(`localhost:${targetPort}`);
  socket.on('error', () => {});

  await once(socket, 'close');

  expect((await tunnel(`localhost:${targetPort}`)).status).toBe(403);
  expect(lines[0]).toContain('more than 10000 bytes were moved');
});

it('closing it ends what is open', async () => {
  const { socket } = await tunnel(`localhost:${targetPort}`);
  socket.on('error', () => {});

  proxy.close();

  await once(socket, 'close');
});

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function dial(): Promise<Socket> {
  const socket = connect((front.address() as AddressInfo).port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

async function tunnel(authority: string): Promise<{ status: number; socket: Socket }> {
  const connecting = request({
    port: (front.address() as AddressInfo).port,
    host: '127.0.0.1',
    method: 'CONNECT',
    path: authority,
    agent: false,
  });
  connecting.end();
  const [response, socket, head] = (await once(connecting, 'connect')) as [
    { statusCode: number },
    Socket,
    Buffer,
  ];
  if (head.length > 0) socket.unshift(head);
  return { status: response.statusCode, socket };
}

async function get(
  url: string,
  { method = 'GET', headers = {}, body = '' }: { method?: string; headers?: object; body?: string } = {},
) {
  const outgoing = request({
    port: (front.address() as AddressInfo).port,
    host: '127.0.0.1',
    method,
    path: url,
    headers: { ...headers },
    agent: false,
  });
  outgoing.end(body);
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, headers: response.headers, body: await text(response) };
}
