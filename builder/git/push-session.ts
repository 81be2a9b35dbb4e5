import { resolve, sep } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Logger } from '../../core/log.ts';
import { type ObjectStore, ObjectStoreFull } from '../../core/object-store/object-store.ts';
import type { PushListener, RefUpdate } from './git-host.ts';
import { gitKeys } from './git-keys.ts';
import { listPacks, storePack } from './packs.ts';
import { createPktReader, flushPacket, pktLine } from './pkt-line.ts';
import { announceOpenIntents, type PushIntent } from './push-intents.ts';
import { toUpdate } from './ref-update.ts';
import { commitPush, type PushFacts, type RefCommand, zeroId } from './refs-document.ts';
import type { RepositoryCache } from './repository-cache.ts';
import { timeOrderedId } from './time-ordered-id.ts';

/** Commands and push options of one push together; 1,000 refs take about 150 KiB. Bytes. */
const commandLimit = 16 * 1024 * 1024;
const optionLimit = 64;
/** Bytes of log that wait for a slow pusher. */
const unreadLimit = 1024 * 1024;

/** One push, as its three hooks tell of it. */
export interface PushSession {
  /** The server's ends of the descriptors 3, 4 and 5 that receive-pack's hooks inherit. */
  attach(sockets: readonly [Duplex, Duplex, Duplex]): void;
  /** The pusher left: nothing more is printed; everything else goes on. */
  detach(): void;
  /** receive-pack has ended: waits for what is still under way. */
  finish(): Promise<void>;
}

export function createPushSession(
  deps: { store: ObjectStore; cache: RepositoryCache; listener: PushListener; log: Logger },
  push: { team: string; app: string; pusher: string; host?: string },
): PushSession {
  const { store, cache, listener, log } = deps;
  const { team, app } = push;
  const intent = gitKeys.intent(timeOrderedId());
  const left = new AbortController();
  let packs: readonly string[] = [];
  let updates: readonly RefUpdate[] = [];
  let announced = false;
  let intentWritten = false;
  const running: Promise<void>[] = [];

  /** Objects first: they are durable before any ref may name them. */
  async function beforeRefs(socket: Duplex): Promise<void> {
    const told = await readUntil(socket, '\n\n', commandLimit);
    if (told === undefined) return;
    const [quarantine = '', ...commands] = told.split('\n');
    const packFolder = `${resolve(quarantine)}/pack`;
    // A push that only deletes brings nothing, and git makes no quarantine for it.
    if (quarantine !== '') {
      if (!packFolder.startsWith(resolve(cache.path(team, app)) + sep)) {
        throw new Error('quarantine lies elsewhere');
      }
      packs = await listPacks(packFolder);
    }
    const refs = commands.map((command) => command.slice(zeroId.length * 2 + 2));
    const open: PushIntent = { state: 'open', team, app, refs, nonce: intent };
    await Promise.all([
      ...packs.map((id) => storePack(store, push, id, packFolder)),
      store.put(intent, Buffer.from(JSON.stringify(open))),
      // A server may have died between moving one of these refs and announcing that; once they move again, nobody could tell.
      announceOpenIntents({ store, listener, log }, { team, app, refs: new Set(refs), except: intent }),
    ]);
    intentWritten = true;
    socket.end('ok\n');
  }

  async function moveRefs(socket: Duplex): Promise<void> {
    const read = createPktReader(socket as AsyncIterable<Buffer>, commandLimit);
    const greeting = await read();
    // A push without any command, or one that was refused earlier, never starts this hook.
    if (greeting === undefined) return;
    const offer = greeting[0]?.toString('latin1') ?? '';
    if (!offer.startsWith('version=1')) throw new Error('this git speaks another proc-receive protocol');
    const withOptions = offer.includes('push-options');
    socket.write(
      Buffer.concat([pktLine(withOptions ? 'version=1\0push-options' : 'version=1'), flushPacket]),
    );
    const commands = ((await read()) ?? []).map(parseCommand);
    const options = withOptions ? ((await read()) ?? []).map((option) => option.toString('utf8').trim()) : [];
    const refusals = await move(commands, options.slice(0, optionLimit));
    const answers = commands.map(({ ref }) => {
      const reason = refusals.get(ref);
      return pktLine(reason === undefined ? `ok ${ref}` : `ng ${ref} ${reason}`);
    });
    socket.end(Buffer.concat([...answers, flushPacket]));
  }

  async function move(
    commands: readonly RefCommand[],
    options: readonly string[],
  ): Promise<ReadonlyMap<string, string>> {
    const moved = commands.filter(({ after }) => after !== zeroId);
    const facts: PushFacts = {
      pusher: push.pusher,
      options,
      packs,
      ids: new Map(moved.map(({ ref }) => [ref, timeOrderedId()])),
    };
    try {
      const result = await commitPush(store, push, commands, facts);
      if (result.refusals !== undefined) {
        await cache.dropPacks(team, app, packs);
        return result.refusals;
      }
      const { document } = result.refs;
      updates = moved.flatMap(({ ref }) => {
        const stored = document.refs[ref];
        if (stored === undefined) return [];
        const update = toUpdate(push, ref, stored, document.head);
        return [push.host === undefined ? update : { ...update, host: push.host }];
      });
      await Promise.all([
        announce(),
        // Only a cache: whoever reads next brings it up to date if this fails.
        cache.update(team, app).catch((error: unknown) => {
          log.warn({ err: error, team, app }, 'git cache could not be updated');
        }),
      ]);
      return new Map();
    } catch (error) {
      log.error({ err: error, team, app }, 'refs of a push could not be stored');
      const reason =
        error instanceof ObjectStoreFull
          ? "the server's disk is full"
          : 'the store did not answer; fetch, then push again';
      return new Map(commands.map(({ ref }) => [ref, reason]));
    }
  }

  async function announce(): Promise<void> {
    try {
      if (updates.length > 0) await listener.accepted(updates);
      announced = true;
    } catch (error) {
      // The refs have moved, so the push is good. The intent stays and the builds are started later.
      log.error({ err: error, team, app }, 'accepted push could not be announced');
    }
  }

  async function printBuilds(socket: Duplex): Promise<void> {
    if ((await readUntil(socket, 'post\n', 16)) === undefined) return;
    try {
      await listener.follow(updates, createLineWriter(socket), left.signal);
    } finally {
      socket.end();
    }
  }

  function run(socket: Duplex, task: Promise<void>): void {
    running.push(
      task.catch((error: unknown) => {
        // Without the answer that it waits for the hook fails and git refuses the push.
        if (error instanceof ObjectStoreFull) socket.end("brickyard: the server's disk is full\n");
        else socket.destroy();
        log.error({ err: error, team, app }, 'push hook failed');
      }),
    );
  }

  return {
    attach([before, refs, after]) {
      for (const socket of [before, refs, after]) socket.on('error', () => {});
      run(before, beforeRefs(before));
      run(refs, moveRefs(refs));
      run(after, printBuilds(after));
    },
    detach: () => left.abort(),
    async finish() {
      left.abort();
      await Promise.all(running);
      if (intentWritten && (announced || updates.length === 0)) {
        await store.delete(intent).catch(() => {});
      }
    },
  };
}

/** Lines that a slow pusher has not taken yet stay within a bound; beyond it they are left out, as the log itself is kept elsewhere. */
function createLineWriter(socket: Duplex): (line: string) => void {
  let missed = 0;
  return (line) => {
    if (socket.writableLength > unreadLimit) {
      missed++;
      return;
    }
    if (missed > 0)
      socket.write(`… ${missed} lines are left out: they came faster than they could be sent …\n`);
    missed = 0;
    socket.write(`${line}\n`);
  };
}

/** What comes before `end`; undefined when the other side closes without having said it: its hook did not run. */
function readUntil(socket: Duplex, end: string, limit: number): Promise<string | undefined> {
  return new Promise((resolveText, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const stop = (): void => {
      socket.off('data', take);
      socket.off('close', gone);
      socket.off('end', gone);
    };
    const gone = (): void => {
      stop();
      resolveText(undefined);
    };
    const take = (chunk: Buffer): void => {
      chunks.push(chunk);
      size += chunk.length;
      const tail = Buffer.concat(chunks.slice(-end.length)).subarray(-end.length).toString('latin1');
      if (tail === end) {
        stop();
        resolveText(Buffer.concat(chunks).subarray(0, -end.length).toString('utf8'));
      } else if (size > limit) {
        stop();
        reject(new Error('a hook told more than is taken'));
      }
    };
    socket.on('data', take);
    socket.once('end', gone);
    socket.once('close', gone);
  });
}

function parseCommand(packet: Buffer): RefCommand {
  const match = /^([0-9a-f]{40}) ([0-9a-f]{40}) (.+)$/s.exec(packet.toString('utf8').replace(/\n$/, ''));
  if (match === null) throw new Error('git sent a command that is none (sha256 repositories are not served)');
  const [, before = '', after = '', ref = ''] = match;
  return { before, after, ref };
}
