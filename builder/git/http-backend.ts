import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { GitRequestPath } from './git-path.ts';
import { startGit } from './git-process.ts';

/** Largest header block that git's own program may print. Bytes. */
const headerLimit = 16 * 1024;

export interface BackendRun {
  /** Exit code of http-backend; 0 also when the client left. */
  readonly code: number;
  /** True: the response was handed over whole. */
  readonly delivered: boolean;
  readonly stderr: string;
}

/**
 * Serves one request by git-http-backend(1), which is a CGI program. Bodies are streamed in both directions, without limits;
 * gzip is undone by http-backend. When the client leaves, a body that is still arriving ends (and git refuses the cut pack), but
 * the program is never killed: what it is doing, it does to the end, and its output is read and dropped.
 */
export async function runHttpBackend(
  request: IncomingMessage,
  response: ServerResponse,
  options: {
    /** Folder that holds `<team>/<app>.git`. */
    root: string;
    environment: Record<string, string>;
    path: GitRequestPath;
    user: string;
    /** Called with the server's ends of the descriptors 3, 4 and 5. */
    attach?: (sockets: readonly [Duplex, Duplex, Duplex]) => void;
    onClientGone?: () => void;
  },
): Promise<BackendRun> {
  const { attach, path } = options;
  const withHooks = attach !== undefined;
  const git = startGit(['http-backend'], {
    environment: { ...options.environment, ...cgiVariables(request, path, options) },
    cwd: options.root,
    stdio: withHooks ? ['pipe', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'] : ['pipe', 'pipe', 'pipe'],
  });
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
  const upload = pipeline(request, stdin).catch(() => {
    stdin.destroy();
    request.resume();
  });
  const delivered = await relay(stdout, response).catch(() => false);
  const code = await git.exited;
  if (gone) request.destroy();
  await upload;
  return { code, delivered: delivered && !gone, stderr: git.stderr() };
}

/** Takes the CGI header off and passes the rest on, for as long as somebody listens. False: git said nothing that could be answered. */
async function relay(stdout: Readable, response: ServerResponse): Promise<boolean> {
  let head = Buffer.alloc(0);
  let inBody = false;
  // Not pipeline(): it would end git's output, and with it git, when the client leaves.
  for await (const chunk of stdout as AsyncIterable<Buffer>) {
    let body = chunk;
    if (!inBody) {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) {
        if (head.length > headerLimit) throw new Error('git http-backend printed no header');
        continue;
      }
      inBody = true;
      writeHeader(head.subarray(0, end).toString('latin1'), response);
      body = head.subarray(end + 4);
    }
    if (body.length > 0 && !response.destroyed && !response.write(body)) await untilDrained(response);
  }
  if (!inBody) return false;
  if (!response.destroyed) response.end();
  return true;
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

function writeHeader(text: string, response: ServerResponse): void {
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).trim();
    const value = line.slice(colon + 1).trim();
    if (name.toLowerCase() === 'status') response.statusCode = Number.parseInt(value, 10) || 500;
    else if (colon > 0) response.setHeader(name, value);
  }
  // The log is printed live: nothing on the way may hold it back.
  response.setHeader('X-Accel-Buffering', 'no');
  response.flushHeaders();
}

function cgiVariables(
  request: IncomingMessage,
  path: GitRequestPath,
  options: { root: string; user: string },
): Record<string, string> {
  const { headers } = request;
  const protocol = headers['git-protocol'];
  const encoding = headers['content-encoding'];
  const action = path.advertisement ? 'info/refs' : path.service;
  return {
    GIT_PROJECT_ROOT: options.root,
    GIT_HTTP_EXPORT_ALL: '1',
    GATEWAY_INTERFACE: 'CGI/1.1',
    REQUEST_METHOD: path.advertisement ? 'GET' : 'POST',
    PATH_INFO: `/${path.team}/${path.app}.git/${action}`,
    QUERY_STRING: path.advertisement ? `service=${path.service}` : '',
    CONTENT_TYPE: headers['content-type'] ?? '',
    REMOTE_USER: options.user,
    REMOTE_ADDR: request.socket.remoteAddress ?? '',
    // Never CONTENT_LENGTH: http-backend (git 2.39's at least) spins for ever on a body that ends before it. Without it, it reads to the end.
    ...(encoding === 'gzip' || encoding === 'x-gzip' ? { HTTP_CONTENT_ENCODING: 'gzip' } : {}),
    ...(typeof protocol === 'string' && /^[a-z0-9=:_-]{1,100}$/.test(protocol)
      ? { GIT_PROTOCOL: protocol }
      : {}),
  };
}
