import { performServerHandshake } from 'node:http2';
import { Duplex, Readable } from 'node:stream';
import { createEgressPolicy, type EgressRules } from '../../egress/egress-policy.ts';
import { createEgressProxy, type EgressLimits, egressLimits } from '../../egress/egress-proxy.ts';
import { egressEnvironment, egressFiles, type PackageMirrors } from '../../egress/mirror-settings.ts';
import type { EngineContext } from '../engine.ts';
import { type ContainerApi, ContainerApiError, type Labels } from './container-api.ts';
import { demultiplex } from './log-lines.ts';
import type { createRelayImage } from './relay-image.ts';

export interface EgressSettings {
  readonly allow: EgressRules['allow'];
  readonly mirrors: PackageMirrors;
  /** See `EgressLimits.bytes`. */
  readonly bytes: number;
}

export const egressSettings: EgressSettings = { allow: [], mirrors: {}, bytes: egressLimits.bytes };

/** The way out of one step's container. */
export interface OpenEgress {
  /** Whose network its container joins, and which the caller removes after it: Podman refuses while another one uses its network. */
  readonly container: string;
  readonly environment: Readonly<Record<string, string>>;
  /** It listens. Rejects with ContainerApiError when it cannot be started, or with the reason of the context's signal. */
  readonly ready: Promise<void>;
  /** Ends it, and says in the build's log what was reached; once, however often it is called. */
  close(): void;
}

export interface Egress {
  /** Below $HOME of the commands; see `egressFiles`. */
  readonly files: ReturnType<typeof egressFiles>;
  /** Returns while the relay still starts: meanwhile the source can be laid out. Errors: ContainerApiError. */
  open(network: 'proxy' | 'open', labels: Labels, context: EngineContext): Promise<OpenEgress>;
}

export interface EgressOptions {
  readonly api: ContainerApi;
  readonly images: ReturnType<typeof createRelayImage>;
  readonly settings: EgressSettings;
}

/** On loopback of the container's network, where a build's own servers listen as well: a number that few take. */
const address = { host: '127.0.0.1', port: 15_128 };

const startMilliseconds = 60_000;

/** Nobody. */
const relayUser = '65534:65534';

/**
 * The containers of a step have loopback alone, and on it a relay in a container of its own, which hands each connection over its standard streams
 * to the proxy in this process. No bridge, no address of the host and no other container is ever in sight, so nothing depends on packet filters.
 */
export function createEgress(options: EgressOptions): Egress {
  const { api, images, settings } = options;
  const { mirrors } = settings;
  const rules = {
    allow: settings.allow,
    mirrors: Object.values(mirrors).filter((each) => each !== undefined),
  };
  const limits: EgressLimits = { ...egressLimits, bytes: settings.bytes };

  return {
    files: egressFiles(address, mirrors),

    async open(network, labels, context) {
      const policy = createEgressPolicy(network, rules);
      const image = await images.ensure(context.signal);
      const container = await api.createContainer({
        image: image.name,
        labels,
        argv: [...image.argv, address.host, String(address.port), String(limits.connections)],
        environment: image.environment,
        user: relayUser,
        workingDirectory: '/',
        network: 'none',
        stdin: true,
        memory: 256 * 1024 ** 2,
        cpus: 1,
        processes: 64,
        fileSize: 1024 ** 2,
        tmpSize: 1024 ** 2,
      });
      const proxy = createEgressProxy({ policy, limits, log: context.log });
      let wire: Duplex | undefined;
      let closed = false;
      const close = (): void => {
        if (closed) return;
        closed = true;
        proxy.close();
        // The relay ends with its input.
        wire?.destroy();
      };
      const start = async (): Promise<void> => {
        wire = await api.attachDuplex(container);
        await api.startContainer(container);
        await serveRelay(wire, (connection) => proxy.accept(connection), context.signal);
      };
      const ready = start();
      // Whoever waits for it gets the error.
      ready.catch(() => {});
      return { container, environment: egressEnvironment(address, mirrors), ready, close };
    },
  };
}

/** Speaks HTTP/2 over the relay's standard streams. Returns when it listens. Errors: ContainerApiError with what it said; the signal's reason. */
async function serveRelay(
  streams: Duplex,
  accept: (connection: Duplex) => void,
  signal: AbortSignal,
): Promise<void> {
  let complaint = '';
  async function* standardOutput(): AsyncGenerator<Buffer, void, undefined> {
    for await (const { stream, bytes } of demultiplex(streams)) {
      if (stream === 2) complaint = `${complaint}${bytes.toString()}`.slice(0, 2_000);
      else yield bytes;
    }
  }
  // An engine or a relay that goes away ends the session, whose end is told of below; nothing of it may end this process.
  const ignore = (): void => {};
  streams.on('error', ignore);
  const readable = Readable.from(standardOutput(), { objectMode: false });
  // Its types know pairs of web streams only.
  const wire = Duplex.from({ readable, writable: streams } as never);
  const session = performServerHandshake(wire, {
    settings: { initialWindowSize: 1024 * 1024, maxConcurrentStreams: 1024 },
    maxSessionMemory: 64,
  });
  await new Promise<void>((resolve, reject) => {
    const fail = (reason: string): void =>
      reject(
        new ContainerApiError(`the relay of the sandbox ${reason}: ${complaint.trim() || 'it said nothing'}`),
      );
    const abort = (): void => reject(signal.reason as Error);
    const timer = setTimeout(() => fail('did not begin in time'), startMilliseconds);
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    };
    signal.addEventListener('abort', abort, { once: true });
    session.on('stream', (stream, headers) => {
      if (headers[':path'] === '/ready') {
        stream.respond({ ':status': 204 }, { endStream: true });
        settle();
        resolve();
        return;
      }
      stream.on('error', ignore);
      stream.respond({ ':status': 200 });
      // Text that an HTTP server writes straight to a stream of a session over no real socket arrives as other bytes (seen with Node.js
      // 26.10); what passes through here is made bytes before.
      accept(Duplex.from({ readable: stream, writable: stream } as never));
    });
    session.on('error', () => fail('broke off'));
    session.once('close', () => {
      settle();
      fail('ended');
    });
    if (signal.aborted) abort();
  });
}
