import { appendFileSync } from 'node:fs';
import { createBoundedCache } from '../../core/bounded-cache.ts';
import { inHurry } from '../fetch/in-hurry.ts';
import type { EngineLog } from '../pool-engine.ts';
import { manifestTypes } from './manifest-types.ts';
import { type OriginClient, OriginUnavailable } from './origin-client.ts';
import type { PrivateFile } from './private-file.ts';

/** A digest as it is asked for: a manifest is none of a repository's blobs. */
export interface Member {
  /** Undefined: the pool's own origin. */
  readonly ns?: string;
  readonly repository: string;
  readonly kind: 'blob' | 'manifest';
  readonly digest: string;
}

/**
 * Which digests are in which repositories, as the origin said: the cache has every blob once, so this is what keeps one repository's content from another
 * one's readers. It depends on no person, so a yes is good for a day, and for longer while the origin is away; while the line crawls an older one is good until
 * the origin's answer is here. Kept on disk.
 */
export interface Memberships {
  /** `refused`: the pool's own account may not look. Errors: OriginUnavailable. */
  has(member: Member): Promise<'yes' | 'no' | 'refused'>;
  /** Somebody saw it there. */
  add(member: Member): void;
  /** The origin took something away: a digest, or everything that was in the repository. Taking away a tag takes nothing from whoever knows the digest. */
  forget(what: {
    readonly ns?: string;
    readonly repository: string;
    readonly digest?: string;
    readonly tag?: string;
  }): void;
  /** Writes what is not on disk yet. */
  close(): void;
}

export interface MembershipsDeps {
  /** The registry that `ns` stands for. */
  readonly clientOf: (ns: string | undefined) => OriginClient | undefined;
  /** Of the pool's own origin, as `health.ts` says it. */
  readonly hurry: () => number | undefined;
  readonly file: PrivateFile;
  /** The same file: lines are added to it, and now and then it is written anew. */
  readonly path: string;
  readonly log: EngineLog;
  readonly now?: () => number;
}

const dayMs = 86_400_000;
/** About 25 MiB. */
const maxKnown = 100_000;
const noMs = 2_000;
const writeMs = 5_000;

export function createMemberships({
  clientOf,
  hurry,
  file,
  path,
  log,
  now = Date.now,
}: MembershipsDeps): Memberships {
  /** When it was seen, in seconds since 1970. */
  const known = createBoundedCache<string, number>(maxKnown);
  const absent = createBoundedCache<string, number>(10_000);
  const asking = new Map<string, Promise<'yes' | 'no' | 'refused'>>();
  let lines: string[] = [];
  let written = 0;
  let timer: NodeJS.Timeout | undefined;
  load();

  function load(): void {
    let text: string | undefined;
    try {
      text = file.read();
    } catch (error) {
      log.warn({ err: error }, 'what is in which repository cannot be read; the origin is asked again');
    }
    for (const line of text?.split('\n') ?? []) {
      const match = /^(?:(\d{1,12}) |(-) )(\S+)$/.exec(line);
      if (match === null) continue;
      written += 1;
      const [, at, , key = ''] = match;
      if (at === undefined) known.delete(key);
      else known.set(key, Number(at));
    }
  }

  const write = (): void => {
    clearTimeout(timer);
    timer = undefined;
    try {
      if (written > 2 * maxKnown || written === 0) {
        const all = [...known.entries()].reverse().map(([key, at]) => `${at} ${key}\n`);
        file.write(all.join(''));
        written = all.length;
      } else {
        appendFileSync(path, lines.join(''), { mode: 0o600 });
        written += lines.length;
      }
    } catch (error) {
      log.warn({ err: error }, 'what is in which repository cannot be kept for the next start');
    }
    lines = [];
  };
  const note = (line: string): void => {
    lines.push(`${line}\n`);
    timer ??= setTimeout(write, writeMs).unref();
  };
  const add = (key: string): void => {
    const at = Math.floor(now() / 1000);
    known.set(key, at);
    absent.delete(key);
    note(`${at} ${key}`);
  };

  const ask = async (member: Member, key: string): Promise<'yes' | 'no' | 'refused'> => {
    const { ns, repository, kind, digest } = member;
    const client = clientOf(ns);
    if (client === undefined) return 'no';
    const { status } = await client.askAsPool(
      {
        method: 'HEAD',
        target: `/v2/${repository}/${kind === 'blob' ? 'blobs' : 'manifests'}/${digest}`,
        ...(kind === 'manifest' ? { headers: { accept: manifestTypes } } : {}),
      },
      `repository:${repository}:pull`,
    );
    // A blob may lie elsewhere; that it is told where means that it is there.
    if (status === 200 || status === 302 || status === 307) {
      add(key);
      return 'yes';
    }
    if (status === 401 || status === 403) return 'refused';
    if (status !== 404) throw new OriginUnavailable(`the origin answered ${status} about a digest`);
    if (known.delete(key)) note(`- ${key}`);
    absent.set(key, now());
    return 'no';
  };

  const askOnce = (member: Member, key: string): Promise<'yes' | 'no' | 'refused'> => {
    const running = asking.get(key);
    if (running !== undefined) return running;
    const started = ask(member, key).finally(() => asking.delete(key));
    asking.set(key, started);
    return started;
  };

  return {
    async has(member) {
      const key = keyOf(member);
      const seen = known.get(key);
      if (seen !== undefined && now() - seen * 1000 < dayMs) return 'yes';
      const missed = absent.get(key);
      if (missed !== undefined && now() - missed < noMs) return 'no';
      try {
        const asked = askOnce(member, key);
        const limit = member.ns === undefined ? hurry() : undefined;
        if (seen === undefined || limit === undefined) return await asked;
        return (await inHurry(asked, limit)) ?? 'yes';
      } catch (error) {
        if (seen !== undefined && error instanceof OriginUnavailable) return 'yes';
        throw error;
      }
    },
    add: (member) => add(keyOf(member)),
    forget({ ns, repository, digest, tag }) {
      if (tag !== undefined) return;
      const place = placeOf(ns, repository);
      const gone =
        digest === undefined
          ? [...known.keys()].filter((key) => key.slice(2).startsWith(`${place}|`))
          : [`b|${place}|${digest}`, `m|${place}|${digest}`];
      for (const key of gone) if (known.delete(key)) note(`- ${key}`);
    },
    close() {
      if (timer !== undefined) write();
    },
  };
}

function keyOf({ ns, repository, kind, digest }: Member): string {
  return `${kind === 'blob' ? 'b' : 'm'}|${placeOf(ns, repository)}|${digest}`;
}

/** A repository's name holds neither of these signs, so no two places have the same text. */
function placeOf(ns: string | undefined, repository: string): string {
  return ns === undefined ? repository : `${ns}!${repository}`;
}
