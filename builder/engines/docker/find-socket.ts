import { request } from '../../../core/http/node-http.ts';

export interface FindSocketOptions {
  /** Path of a socket, or `auto`: look where Docker and Podman put theirs. */
  readonly socket: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const pingMilliseconds = 1_000;

/** The first socket behind which a container engine answers; undefined = there is none. */
export async function findSocket(options: FindSocketOptions): Promise<string | undefined> {
  for (const path of socketCandidates(options)) if (await answersPing(path)) return path;
  return undefined;
}

/** Where an engine may be, in the order of asking. */
export function socketCandidates({ socket, environment }: FindSocketOptions): string[] {
  if (socket !== 'auto') return [socket.replace(/^unix:\/\//, '')];
  const { DOCKER_HOST: host, CONTAINER_HOST: podmanHost, XDG_RUNTIME_DIR: runtime } = environment;
  // Whoever names an engine means that one: no other is used behind his back. Only local sockets are: over TCP a source
  // would leave the machine unasked.
  if (host !== undefined && host !== '') return host.startsWith('unix://') ? [host.slice(7)] : [];
  const found = ['/var/run/docker.sock'];
  if (podmanHost?.startsWith('unix://') === true) found.push(podmanHost.slice(7));
  found.push('/run/podman/podman.sock');
  if (runtime !== undefined && runtime !== '') {
    found.push(`${runtime}/docker.sock`, `${runtime}/podman/podman.sock`);
  }
  return found;
}

/** `GET /_ping`, which Docker and Podman both answer with 200 and `OK`. */
function answersPing(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const ping = request({ socketPath, path: '/_ping', signal: AbortSignal.timeout(pingMilliseconds) });
    ping.on('response', (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    ping.on('error', () => resolve(false));
    ping.end();
  });
}
