import { pipeline } from 'node:stream/promises';
import { bodyStream } from '../../core/http/body-stream.ts';
import { discardBody } from '../../core/http/discard-body.ts';
import type { Answer, Transport } from '../../oci/client/transport.ts';
import type { OriginLink } from '../fetch/origin-link.ts';
import { passedHeaders, passRequest } from '../fetch/pass-request.ts';
import type { Pool } from '../pools/pool.ts';
import { poolHeader } from '../pools/pool-header.ts';
import { refuseAway } from './answer.ts';
import type { Exchange } from './exchange.ts';

/** A request for the origin as the client made it, with its own Authorization: both bodies as they come, neither kept nor waited for. */
export async function passToOrigin(exchange: Exchange, link: OriginLink, pool: Pool): Promise<void> {
  const { request, client } = exchange;
  const passing = {
    path: request.url ?? '',
    client,
    endpoint: pool.endpoint,
    origins: pool.origin.urls.map((url) => new URL(url).origin),
  };
  await answerWith(exchange, passRequest(link, request, passing), (answer) => passedHeaders(answer, passing));
}

/** `/v2/` and `/token`, which the agent answers. It knows clients by `x-pool-client` alone, so nobody else's word for it passes. */
export async function passToAgent(
  exchange: Exchange,
  {
    transport,
    address,
    pool,
  }: { readonly transport: Transport; readonly address: string; readonly pool: Pool },
): Promise<void> {
  const { request, client } = exchange;
  const { authorization, accept, host, 'content-type': type, 'content-length': length } = request.headers;
  const url = new URL(request.url ?? '/', `http://${address}`);
  const said = { authorization, accept, host, 'content-type': type, 'content-length': length };
  const headers: Record<string, string> = { 'x-pool-client': client };
  for (const [name, value] of Object.entries(said)) if (value !== undefined) headers[name] = value;
  const hasBody = Number(length ?? 0) > 0 || request.headers['transfer-encoding'] !== undefined;
  const message = { method: request.method ?? 'GET', url, headers };
  const sent = transport.send(hasBody ? { ...message, body: bodyStream(request) } : message);
  await answerWith(exchange, sent, (answer) => {
    const passed = passedHeaders(answer, { path: url.pathname, endpoint: pool.endpoint, origins: [] });
    const challenge = answer.headers['www-authenticate'];
    // The agent names the pool by itself.
    return challenge === undefined ? passed : { ...passed, 'www-authenticate': challenge };
  });
}

async function answerWith(
  exchange: Exchange,
  asked: Promise<Answer>,
  headersOf: (answer: Answer) => Record<string, string>,
): Promise<void> {
  const { request, response } = exchange;
  let answer: Answer;
  try {
    answer = await asked;
  } catch {
    if (response.destroyed || request.destroyed) response.destroy();
    else await refuseAway(request, response);
    return;
  }
  try {
    const headers = headersOf(answer);
    // A pool before another one speaks for itself.
    delete headers[poolHeader.toLowerCase()];
    response.writeHead(answer.status, headers);
    exchange.wrote(0);
    answer.body.on('data', (chunk: Buffer) => exchange.wrote(chunk.length));
    await pipeline(answer.body, response);
    // An early answer counts; what is left of the request is read, or the client would not see it.
    await discardBody(request);
  } catch {
    answer.body.destroy();
    response.destroy();
  }
}
