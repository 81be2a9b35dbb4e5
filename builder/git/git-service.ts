import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import type { GitRequestPath } from './git-path.ts';
import { startGit } from './git-process.ts';
import { flushPacket, pktLine } from './pkt-line.ts';
import { pushAdvertisement } from './push-advertisement.ts';
import type { RefsDocument } from './refs-document.ts';

export interface ServiceRun {
  /** Exit code of git's program; 0 also when the client left. */
  readonly code: number;
  readonly stderr: string;
}

/**
 * Answers one request of the smart HTTP protocol (gitprotocol-http(5)) with git's own receive-pack or upload-pack. Started directly and not by
 * git-http-backend(1), which is two programs more per request. Bodies are streamed in both directions, without limits. When
 * the client leaves, a body that is still arriving ends (and git refuses the cut pack), but the program is never killed: what
 * it is doing, it does to the end, and its output is read and dropped.
 */
export async function runGitService(
  request: IncomingMessage,
  response: ServerResponse,
  options: {
    /** Of the bare repository. */
    folder: string;
    environment: Record<string, string>;
    path: GitRequestPath;
    /** Called with the server's ends of the descriptors 3, 4 and 5. */
    attach?: (sockets: readonly [Duplex, Duplex, Duplex]) => void;
    onClientGone?: () => void;
  },
): Promise<ServiceRun> {
  const { attach, path } = options;
  const protocol = protocolOf(request, path);
  const git = startGit(
    [
      path.service.slice('git-'.length),
      '--stateless-rpc',
      ...(path.advertisement ? ['--advertise-refs'] : []),
      '.',
    ],
    {
      environment: { ...options.environment, ...(protocol === undefined ? {} : { GIT_PROTOCOL: protocol }) },
      cwd: options.folder,
      stdio: ['pipe', 'pipe', 'pipe', ...(attach === undefined ? [] : (['pipe', 'pipe', 'pipe'] as const))],
    },
  );
  const { child } = git;
  const [stdin, stdout] = child.stdio as unknown as [Writable, Readable];
  if (attach !== undefined) attach(child.stdio.slice(3) as unknown as [Duplex, Duplex, Duplex]);
  let gone = false;
  response.once('close', () => {
    if (response.writableFinished) return;
    gone = true;
    options.onClientGone?.();
  });
  // Fails when the client leaves in mid-body, or when git has answered without reading everything: neither is ours to report.
  const upload = feed(request, stdin).catch(() => {
    stdin.destroy();
    request.resume();
  });
  await relay(stdout, response, path, protocol).catch(() => {});
  const code = await git.exited;
  if (gone) request.destroy();
  await upload;
  // A program that fails without a word has nothing to answer; one that says nothing and is content has (a push without commands).
  if (!response.headersSent && !response.destroyed && code === 0) writeHead(response, path);
  if (response.headersSent && !response.destroyed) response.end();
  return { code, stderr: git.stderr() };
}

/** Answers GET …/info/refs for a push. */
export function advertisePush(response: ServerResponse, path: GitRequestPath, refs: RefsDocument): void {
  writeHead(response, path);
  response.end(Buffer.concat([greeting(path), pushAdvertisement(refs)]));
}

/** Why a request is not one of git's; undefined: it is. */
export function refusedType(request: IncomingMessage, path: GitRequestPath): string | undefined {
  const wanted = `application/x-${path.service}-request`;
  if (path.advertisement || request.headers['content-type'] === wanted) return undefined;
  return `this address takes ${wanted} only`;
}

function feed(request: IncomingMessage, stdin: Writable): Promise<void> {
  const encoding = request.headers['content-encoding'];
  return encoding === 'gzip' || encoding === 'x-gzip'
    ? pipeline(request, createGunzip(), stdin)
    : pipeline(request, stdin);
}

/** Passes git's output on, for as long as somebody listens. */
async function relay(
  stdout: Readable,
  response: ServerResponse,
  path: GitRequestPath,
  protocol: string | undefined,
): Promise<void> {
  let begun = false;
  // Not pipeline(): it would end git's output, and with it git, when the client leaves.
  for await (const chunk of stdout as AsyncIterable<Buffer>) {
    if (response.destroyed) continue;
    if (!begun) {
      writeHead(response, path);
      // Version 2 begins with its own greeting (gitprotocol-v2(5)).
      if (path.advertisement && protocol?.includes('version=2') !== true) response.write(greeting(path));
    }
    begun = true;
    if (!response.write(chunk)) await untilDrained(response);
  }
}

function greeting(path: GitRequestPath): Buffer {
  return Buffer.concat([pktLine(`# service=${path.service}\n`), flushPacket]);
}

function untilDrained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.once('drain', done);
    response.once('close', done);
  });
}

function writeHead(response: ServerResponse, path: GitRequestPath): void {
  response.writeHead(200, {
    'Content-Type': `application/x-${path.service}-${path.advertisement ? 'advertisement' : 'result'}`,
    'Cache-Control': 'no-cache, max-age=0, must-revalidate',
    // The log is printed live: nothing on the way may hold it back.
    'X-Accel-Buffering': 'no',
  });
  response.flushHeaders();
}

/** `Git-Protocol`, checked, as it becomes a variable of git's. */
function protocolOf(request: IncomingMessage, path: GitRequestPath): string | undefined {
  const protocol = request.headers['git-protocol'];
  if (typeof protocol !== 'string' || !/^[a-z0-9=:_-]{1,100}$/.test(protocol)) return undefined;
  // receive-pack knows no version 2 and falls back by itself, to what begins with a greeting.
  return path.service === 'git-receive-pack' && protocol.includes('version=2') ? undefined : protocol;
}
