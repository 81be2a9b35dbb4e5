import { cpuSeconds } from '../measure.ts';
import { type ClientKind, type Herd, pullAtOnce } from './clients.ts';
import { type RunningSide, repository, type SideContext } from './side.ts';

/** One pull by all nodes at once, and what it cost. */
export interface Observation {
  readonly herd: Herd;
  /** When the last node had everything. */
  readonly lastSeconds: number;
  /** Bytes within TCP that the origin sent over the link; frames count more. */
  readonly linkBytes: number;
  /** Bytes that the origin's log says it sent, headers included. */
  readonly logBytes: number;
  /** Requests for layers that the origin answered with bytes. */
  readonly layerRequests: number;
  /** Redirects that the origin answered with. */
  readonly redirects: number;
  /** Of the proxy. */
  readonly cpuSeconds: number;
}

export async function observePull(
  side: RunningSide,
  { lab, origin, image }: SideContext,
  kind: ClientKind,
): Promise<Observation> {
  const cpu = (): number => (side.pid === undefined ? 0 : cpuSeconds(side.pid));
  await origin.requests();
  const before = { link: await lab.linkCount(), cpu: cpu() };
  const { host, account } = side;
  const target = { host, repository, reference: 'v1', ...(account === undefined ? {} : { account }) };
  const herd = await pullAtOnce(kind, lab.nodes, { target, image, memory: lab.memory });
  const after = { link: await lab.linkCount(), cpu: cpu() };
  const requests = await origin.requests();
  const layers = new Set(image.layers.map(({ digest }) => digest));
  const forLayers = requests.filter(
    ({ method, path, status }) =>
      method === 'GET' && status < 300 && layers.has(path.slice(path.lastIndexOf('/') + 1)),
  );
  return {
    herd,
    lastSeconds: Math.max(...herd.seconds),
    linkBytes: after.link.payload - before.link.payload,
    logBytes: requests.reduce((sum, { bytes }) => sum + bytes, 0),
    layerRequests: forLayers.length,
    redirects: requests.filter(({ status }) => status >= 300 && status < 400 && status !== 304).length,
    cpuSeconds: after.cpu - before.cpu,
  };
}
