import type { Socket } from 'node:net';

/** What a step asked of the network: bounded, however much it asks. */
export interface EgressLedger {
  /** Each place is told of once in the log. */
  refused(place: string, reason: string): void;
  /** Counts the connection's bytes until it closes. */
  opened(place: string, socket: Socket): void;
  /** One line of the log, once. */
  note(line: string): void;
  /** True when the step has moved as many bytes as it may. */
  isSpent(): boolean;
  /** Says in the log what was reached. */
  close(): void;
}

const mostPlaces = 500;
const mostLines = 50;
const mostNamed = 20;
const countEveryMilliseconds = 1_000;

export function createEgressLedger(options: {
  /** In both directions. */
  readonly bytes: number;
  readonly log: (line: string) => void;
}): EgressLedger {
  const { bytes: most, log } = options;
  const said = new Set<string>();
  const reached = new Map<string, { connections: number; bytes: number }>();
  const open = new Map<Socket, { place: string; counted: number }>();
  let bytes = 0;
  let spent = false;
  let timer: NodeJS.Timeout | undefined;

  function say(key: string, line: string): void {
    if (said.has(key) || said.size > mostLines) return;
    said.add(key);
    log(said.size > mostLines ? 'network: further refusals are not shown' : `network: ${line}`);
  }

  function count(socket: Socket): void {
    const one = open.get(socket);
    if (one === undefined) return;
    const moved = socket.bytesRead + socket.bytesWritten;
    const entry = reached.get(one.place);
    if (entry !== undefined) entry.bytes += moved - one.counted;
    bytes += moved - one.counted;
    one.counted = moved;
  }

  function countAll(): void {
    for (const socket of open.keys()) count(socket);
    if (bytes <= most || spent) return;
    spent = true;
    say(
      'spent',
      `more than ${most} bytes were moved; nothing more is reached (builder.sandbox.egress.bytes)`,
    );
    for (const socket of open.keys()) socket.destroy();
  }

  return {
    refused(place, reason) {
      say(place, `${shown(place)} was not reached: ${reason}`);
    },
    opened(place, socket) {
      const key = reached.has(place) || reached.size < mostPlaces ? place : 'others';
      const entry = reached.get(key) ?? { connections: 0, bytes: 0 };
      entry.connections += 1;
      reached.set(key, entry);
      open.set(socket, { place: key, counted: 0 });
      timer ??= setInterval(countAll, countEveryMilliseconds).unref();
      socket.once('close', () => {
        count(socket);
        open.delete(socket);
      });
    },
    note: (line) => say(line, line),
    isSpent: () => spent,
    close() {
      clearInterval(timer);
      for (const socket of open.keys()) {
        count(socket);
        socket.destroy();
      }
      if (reached.size === 0) return;
      const places = [...reached].sort(([, a], [, b]) => b.bytes - a.bytes);
      const named = places
        .slice(0, mostNamed)
        .map(([place, each]) => `${shown(place)} (${each.connections}, ${megabytes(each.bytes)})`);
      const more = places.length > mostNamed ? [`${places.length - mostNamed} more`] : [];
      log(`network: reached ${[...named, ...more].join(', ')}`);
    },
  };
}

/** Names come from the build: nothing in them may move a terminal's cursor, and none is longer than DNS allows. */
function shown(place: string): string {
  return place.replace(/[^\x21-\x7e]/g, '?').slice(0, 270);
}

function megabytes(bytes: number): string {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
