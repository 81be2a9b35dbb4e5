import cluster, { type Worker } from 'node:cluster';
import { join } from 'node:path';
import type { EventRelay } from '../../core/events.ts';
import type { JsonValue } from '../../core/object-store/object-store.ts';
import { UserError } from '../../core/user-error.ts';
import { createHandOver } from './hand-over.ts';
import type { ChildKind, FromChild, ServeOptions, ToChild } from './messages.ts';

export interface SupervisorOptions {
  readonly serve: ServeOptions;
  /** Processes that answer HTTP; they share one listening socket. */
  readonly httpProcesses: number;
  /** Whether a process for builds runs beside them. */
  readonly worker: boolean;
  /**
   * Milliseconds after which a child that was asked to stop is ended; an upload that is still running then continues after the
   * restart, and a build begins anew.
   */
  readonly stopWithinMs: Readonly<Record<ChildKind, number>>;
  /** Ends the start; then the supervisor is undefined. */
  readonly cancelled?: Promise<unknown>;
  /** Connects with the other machines, where there are any: one connection for all processes of this one. */
  readonly connect?: ((deliver: (topic: string, message: JsonValue) => void) => EventRelay) | undefined;
  /** One line for the operator, e.g. that a child died and was started again. */
  readonly say: (line: string) => void;
}

export interface Supervisor {
  /** The port that the children listen on. */
  readonly port: number;
  /** Asks every child to finish what it has begun, and ends those that are not done in time. */
  stop(): Promise<void>;
  /** Ends those that answer HTTP at once; the one with the builds hands them back first. */
  hurry(): Promise<void>;
}

/** Milliseconds for handing builds back when somebody is in a hurry. */
const hurryMs = 6000;

/**
 * `--expose-gc`: for core/body-collection.ts. The young generation is never full before that runs, so a large one only costs memory.
 * `--heap-growing-percent`: buffers of bodies count against the heap's next limit, which V8's own rule puts 9 MB above a heap of 23 MB; the heap was marked
 * whole 17 times for a layer of 300 MB, for half of the push's CPU time. With twice as much, 64 uploads at once took 413 MB in all, with this 349 MB.
 */
const childFlags = ['--expose-gc', '--max-semi-space-size=2', '--heap-growing-percent=100'];
/** glibc gives each thread an arena of its own otherwise, and freed buffers stay in all of them. */
const childEnvironment = { MALLOC_ARENA_MAX: '2' };

/** Events that wait for one child; more are dropped, as they only make things faster. */
const maxWaiting = 1_000;

/**
 * Starts the processes of one machine and keeps them running. The processes share nothing but the object store; what passes through here are
 * best-effort events (wake-ups, live log lines), so a lost supervisor costs no data.
 * Errors: UserError when a child cannot start (port in use, bad store, …).
 */
export async function startSupervisor(options: SupervisorOptions): Promise<Supervisor | undefined> {
  // `.ts` in the checkout, `.js` in the published package: the same as this file.
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const exec = join(import.meta.dirname, `child.${extension}`);
  const children = new Map<Worker, ChildKind>();
  const handOver = createHandOver();
  let stopping = false;

  const machines = options.connect?.((topic, message) => {
    for (const child of children.keys()) sendEvent(child, { type: 'event', topic, message });
  });

  // A second Ctrl-C means at once: children that wait for a request or a slow disk would outlive us.
  const killAll = (): void => {
    for (const child of children.keys()) child.process.kill('SIGKILL');
  };
  process.once('exit', killAll);

  const relay = (from: Worker, message: FromChild): void => {
    if (message.type !== 'event') return;
    for (const child of children.keys()) if (child !== from) sendEvent(child, message);
    machines?.publish(message.topic, message.message);
  };

  /** Messages that a child has not been given yet: one that hangs must not fill this process's memory. */
  const waiting = new WeakMap<Worker, number>();
  const sendEvent = (child: Worker, message: ToChild): void => {
    const count = waiting.get(child) ?? 0;
    if (count >= maxWaiting) return;
    waiting.set(child, count + 1);
    send(child, message, () => waiting.set(child, (waiting.get(child) ?? 1) - 1));
  };

  const start = (kind: ChildKind): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      cluster.setupPrimary({ exec, args: [kind], execArgv: [...process.execArgv, ...childFlags] });
      const child = cluster.fork(childEnvironment);
      handOver(child);
      const startedAt = Date.now();
      children.set(child, kind);
      child.on('message', (message: FromChild) => {
        if (message.type === 'ready') resolve(message.port);
        if (message.type === 'failed') reject(new UserError(message.text, { exitCode: message.exitCode }));
        relay(child, message);
      });
      child.on('error', reject);
      child.on('exit', (code, signal) => {
        children.delete(child);
        reject(new UserError(`a process ended while starting (${signal ?? `exit code ${code}`})`));
        if (stopping || child.exitedAfterDisconnect) return;
        options.say(`a ${kind} process ended (${signal ?? `exit code ${code}`}); starting another`);
        // A child that dies at once would otherwise be started thousands of times a minute.
        const wait = Date.now() - startedAt < 5_000 ? 1_000 : 0;
        setTimeout(() => {
          if (!stopping) start(kind).catch((error: unknown) => options.say(String(error)));
        }, wait);
      });
      send(child, { type: 'start', options: options.serve });
    });

  /** Asks each child, and ends it when its time is over. */
  const end = async (now: boolean, withinMs: (kind: ChildKind) => number): Promise<void> => {
    stopping = true;
    await Promise.all(
      [...children].map(async ([child, kind]) => {
        const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
        send(child, { type: 'stop', now });
        const late = setTimeout(() => child.process.kill('SIGKILL'), withinMs(kind));
        await gone;
        clearTimeout(late);
      }),
    );
    process.off('exit', killAll);
  };
  const stop = async (): Promise<void> => {
    await end(false, (kind) => options.stopWithinMs[kind]);
    await machines?.close();
  };
  const hurry = (): Promise<void> => end(true, (kind) => (kind === 'worker' ? hurryMs : 0));

  try {
    const http = Array.from({ length: options.httpProcesses }, () => start('http'));
    const others = options.worker ? [start('worker')] : [];
    const ready = Promise.all([...http, ...others]);
    const ports = await Promise.race([ready, options.cancelled?.then(() => undefined) ?? ready]);
    if (ports !== undefined) return { port: ports[0] ?? 0, stop, hurry };
    // Children that are stopped while they start reject it, which is no news.
    ready.catch(() => {});
    await stop();
    return undefined;
  } catch (error) {
    await stop();
    throw error;
  }
}

function send(child: Worker, message: ToChild, sent: () => void = () => {}): void {
  if (child.isConnected()) child.send(message, () => sent());
  else sent();
}
