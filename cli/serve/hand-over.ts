import type { Worker } from 'node:cluster';

interface ClusterMessage {
  readonly act?: string;
  readonly seq?: number;
  readonly ack?: number;
}

/**
 * Gives connections that a child had not yet taken when it died to another one. Node's round robin forgets them (a child's answer
 * to `newconn` is awaited for ever), and a client would wait on an open connection that nobody reads: as if dead, the child is made
 * to answer "not accepted". Call it before the child listens.
 */
export function handOverConnections(child: Worker): void {
  const offered = new Set<number>();
  const channel = child.process;
  const send = channel.send.bind(channel) as (...args: unknown[]) => boolean;
  channel.send = ((message: ClusterMessage, ...rest: unknown[]) => {
    if (message.act === 'newconn' && message.seq !== undefined) offered.add(message.seq);
    return send(message, ...rest);
  }) as typeof channel.send;
  channel.on('internalMessage', ({ ack }: ClusterMessage) => {
    if (ack !== undefined) offered.delete(ack);
  });
  const handOver = (): void => {
    for (const ack of offered) {
      channel.emit('internalMessage', { cmd: 'NODE_CLUSTER', ack, accepted: false });
    }
  };
  // In either order; what comes in between is only given up by the later one.
  child.once('disconnect', handOver);
  child.once('exit', handOver);
}
