import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Server, ServerOptions } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { createRequestIds } from '../../core/http/http-server.ts';
import { createIdleGuard } from '../../core/http/idle-guard.ts';
import { createServer } from '../../core/http/node-http.ts';
import { createReadBuffers } from '../../core/object-store/read-buffers.ts';
import { UserError } from '../../core/user-error.ts';
import { createTransport } from '../../oci/client/transport.ts';
import { createPoolLinks, type PoolLinks } from '../fetch/pool-links.ts';
import type { PoolEngine, PoolEngineDeps } from '../pool-engine.ts';
import type { Pool } from '../pools/pool.ts';
import type { BlobAnswerDeps } from './blob-answer.ts';
import { openCacheStore } from './cache-store.ts';
import { compareBlob } from './compare-blob.ts';
import { createRequestHandler } from './handle-request.ts';
import { createManifestAnswers } from './manifest-answer.ts';
import { createOpenBlobs } from './open-blobs.ts';
import { createPoolCache } from './pool-cache.ts';

/** A client may take hours for a layer; what must not last is silence. */
const idleTimeout = 60_000;
const sweepEvery = 60_000;
const agentTimeout = 20_000;
/** Layers that were being fetched with a former configuration are, for so long. */
const formerLinks = 15 * 60_000;

const listenerOptions: ServerOptions = {
  requestTimeout: 0,
  keepAliveTimeout: 75_000,
  headersTimeout: 20_000,
  // A token that names many repositories does not fit into the default of 16 KiB.
  maxHeaderSize: 32 * 1024,
  noDelay: true,
};

/**
 * A pool's engine within this process, for one box and for machines without nginx. Errors: UserError for a listener, certificate or folder that cannot be used.
 */
export async function startEmbeddedEngine(pool: Pool, deps: PoolEngineDeps): Promise<PoolEngine> {
  const { onRecord, log } = deps;
  let links = openLinks(pool, deps);
  const former = new Map<PoolLinks, NodeJS.Timeout>();
  const store = await openCacheStore({
    // Beside what another engine may have kept there.
    folder: join(pool.cache.folder, 'embedded'),
    limits: pool.cache,
    log,
    busy: (digest) => blobs.isOpen(digest),
  });
  const blobs = createOpenBlobs(() => store);
  const blobDeps: BlobAnswerDeps = {
    store,
    blobs,
    onRecord,
    log,
    buffers: createReadBuffers(),
    completed: (blob) => void compareBlob({ store, blobs, log }, blob),
  };
  const transport = createTransport({ timeoutMs: agentTimeout, maxSockets: 256 });
  const handle = createRequestHandler({
    ...deps,
    links: () => links,
    blobs: blobDeps,
    manifests: createManifestAnswers({
      store,
      onRecord,
      onOriginMissing: () => links.pool.onOriginMissing,
    }),
    transport,
    newId: createRequestIds(),
  });
  const idle = createIdleGuard(idleTimeout);
  let closing: Promise<void> | undefined;
  const server = createListener(pool);
  server.on('request', (request, response) => {
    // Those that were busy when nobody new was let in any more would stand until they time out.
    if (closing !== undefined)
      response.once('close', () => setImmediate(() => server.closeIdleConnections()));
    idle.watchBody(request);
    idle.watchResponse(response);
    handle(request, response);
  });
  const sweep = setInterval(() => store.sweep(), sweepEvery);
  sweep.unref();
  const end = (): void => {
    clearInterval(sweep);
    transport.close();
    for (const [each, timer] of former) {
      clearTimeout(timer);
      each.close();
    }
    links.close();
  };
  const retire = (old: PoolLinks): void => {
    const timer = setTimeout(() => {
      former.delete(old);
      old.close();
    }, formerLinks);
    timer.unref();
    former.set(old, timer);
  };
  const url = await listen(server, pool).catch((error: unknown) => {
    end();
    throw error;
  });

  return {
    kind: 'embedded',
    url,
    cache: createPoolCache(store, blobs),
    async reconfigure(next) {
      const current = links.pool;
      if (next.listen !== current.listen || next.engine !== current.engine || !next.tls !== !current.tls) {
        throw new UserError(
          `pool ${next.name}: another listener or engine takes a restart of \`serve pool\``,
        );
      }
      if (next.cache.folder !== current.cache.folder) {
        throw new UserError(
          `pool ${next.name}: another folder for the cache takes a restart of \`serve pool\``,
        );
      }
      const made = openLinks(next, deps);
      try {
        if (next.tls !== undefined && 'setSecureContext' in server)
          server.setSecureContext(readTls(next.tls));
      } catch (error) {
        made.close();
        throw error;
      }
      retire(links);
      links = made;
      store.limits = next.cache;
      store.sweep();
    },
    close() {
      closing ??= (async () => {
        server.close();
        server.closeIdleConnections();
        await once(server, 'close');
        end();
      })();
      return closing;
    },
  };
}

/** Errors: UserError. */
function openLinks(pool: Pool, deps: PoolEngineDeps): PoolLinks {
  try {
    return createPoolLinks(pool, deps);
  } catch (cause) {
    throw new UserError(
      `pool ${pool.name}: a file of certificates cannot be read: ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
}

function createListener(pool: Pool): Server | TlsServer {
  if (pool.tls === undefined) return createServer(listenerOptions);
  return createTlsServer({ ...listenerOptions, ...readTls(pool.tls) });
}

function readTls(tls: NonNullable<Pool['tls']>): { cert: string; key: string } {
  try {
    return { cert: readFileSync(tls.certificate, 'utf8'), key: readFileSync(tls.key, 'utf8') };
  } catch (cause) {
    throw new UserError(`the pool's certificate or key cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

async function listen(server: Server | TlsServer, pool: Pool): Promise<string> {
  const { hostname, port } = new URL(`http://${pool.listen}`);
  try {
    // `http://…:80` has no port of its own.
    server.listen({ host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 80 : Number(port) });
    await once(server, 'listening');
  } catch (cause) {
    throw new UserError(`the pool cannot listen on ${pool.listen}: ${(cause as Error).message}`, { cause });
  }
  const address = server.address();
  if (address === null || typeof address === 'string')
    throw new UserError(`the pool cannot listen on ${pool.listen}`);
  const host = isIPv6(address.address) ? `[${address.address}]` : address.address;
  return `${pool.tls === undefined ? 'http' : 'https'}://${host}:${address.port}`;
}
