import { randomBytes } from 'node:crypto';
import type { Logger } from '../../core/log.ts';
import { type ObjectStore, PreconditionFailed } from '../../core/object-store/object-store.ts';
import type { JobState } from '../../core/queue/job-queue.ts';
import { isPublicAddress } from '../../oci/client/outbound.ts';
import { createTransport, type Transport } from '../../oci/client/transport.ts';
import { createLimit } from '../../oci/copy/limit.ts';
import type { Build, BuildService } from '../farm/build-service.ts';
import { judgeStatusAnswer, statusRequest } from './commit-status.ts';
import { isLinkLocal } from './resolve-host.ts';
import type { Trigger } from './trigger.ts';

/** Tells commits elsewhere how their builds go. A record in the store for each build that is not over yet; no build waits for any of this. */
export interface StatusReports {
  /** Kept for good when it returns; a second time changes nothing. */
  follow(trigger: Trigger, what: FollowedBuild): Promise<void>;
  /** Starts telling, and goes on where a process that died was. */
  work(): { close(): Promise<void> };
}

export interface FollowedBuild {
  /** Its id. */
  readonly build: string;
  readonly commit: string;
  /** Of this server. */
  readonly ref: string;
}

interface Report extends FollowedBuild {
  readonly repository: string;
  readonly url: string;
  /** What the commit was told last. */
  readonly told?: JobState;
  /** Failed attempts in a row. */
  readonly failures: number;
  /** Milliseconds since 1970; nobody tells before. */
  readonly notBefore: number;
  /** Milliseconds since 1970. */
  readonly since: number;
}

export interface StatusReportsDeps {
  readonly store: ObjectStore;
  readonly builds: Pick<BuildService, 'get'>;
  readonly triggers: readonly Trigger[];
  readonly log: Logger;
  readonly publicUrl?: string;
  readonly now?: () => number;
  /** How often records are looked through. Milliseconds. Default 2000. */
  readonly pollMs?: number;
  /** Before the second attempt; doubled each time, up to an hour. Milliseconds. Default 5000. */
  readonly retryMs?: number;
}

const prefix = 'hooks/statuses/';
/** A process that tells one keeps others from doing so for so long. */
const claimMs = 60_000;
const timeoutMs = 15_000;
const longestWait = 60 * 60 * 1000;
/** After this time nobody is told any more: the record goes. */
const giveUpMs = 3 * 24 * 60 * 60 * 1000;
/** A provider that is silent holds up no other's. */
const toldAtOnce = 8;
/** Of an answer. Bytes. */
const mostAnswer = 64 * 1024;

export function createStatusReports(deps: StatusReportsDeps): StatusReports {
  const { store, triggers, log, now = Date.now, pollMs = 2000, retryMs = 5000 } = deps;

  async function write(report: Report, etag: string | undefined): Promise<string | undefined> {
    // A fresh nonce: equal content must never have an equal version.
    const body = Buffer.from(
      JSON.stringify({ state: 'open', nonce: randomBytes(12).toString('hex'), ...report }),
    );
    try {
      const condition = etag === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: etag };
      return (await store.put(prefix + report.build, body, condition)).etag;
    } catch (error) {
      if (error instanceof PreconditionFailed) return undefined;
      throw error;
    }
  }

  async function look(key: string): Promise<void> {
    const object = await store.get(key);
    if (object === undefined) return;
    const report = JSON.parse(object.body.toString('utf8')) as Report;
    if (report.notBefore > now()) return;
    const trigger = triggers.find(
      ({ team, app, remote }) => `${team}/${app}` === report.repository && remote.url === report.url,
    );
    const build = await deps.builds.get(report.build);
    const over = build === undefined || trigger?.status === undefined || now() - report.since > giveUpMs;
    if (over || (build.finishedAt !== undefined && report.told === build.state)) return store.delete(key);
    if (report.told === build.state) return;
    const claimed = await write({ ...report, notBefore: now() + claimMs }, object.etag);
    if (claimed === undefined) return;
    const next = await tell(report, trigger, build);
    if (next === undefined) return store.delete(key);
    await write(next, claimed);
  }

  /** What the record says afterwards; undefined: there is no more to tell. */
  async function tell(report: Report, trigger: Trigger, build: Build): Promise<Report | undefined> {
    const { commit, ref } = report;
    const { state } = build;
    const link =
      deps.publicUrl === undefined ? undefined : `${deps.publicUrl.replace(/\/+$/, '')}/builds/${build.id}`;
    const request = statusRequest(trigger, {
      commit,
      ref,
      state,
      ...(build.error === undefined ? {} : { reason: build.error }),
      ...(link === undefined ? {} : { link }),
    });
    if (request === undefined) return undefined;
    const fields = { repository: report.repository, build: build.id, provider: trigger.provider };
    let verdict: 'kept' | 'again' | 'never' = 'again';
    const transport = openTransport(trigger);
    try {
      const { status, text } = await exchange(transport, request);
      verdict = judgeStatusAnswer(trigger.provider, status, text);
      if (verdict !== 'kept') log.warn({ ...fields, status, verdict }, 'commit status was not taken');
    } catch (error) {
      log.warn({ ...fields, err: error }, 'commit status could not be sent');
    } finally {
      transport.close();
    }
    // A token may be put right while the build runs: its end is tried again, slowly, as everything else.
    if (verdict === 'kept') {
      return build.finishedAt === undefined
        ? { ...report, told: state, failures: 0, notBefore: now() }
        : undefined;
    }
    const failures = report.failures + (verdict === 'never' ? 4 : 1);
    return {
      ...report,
      failures,
      notBefore: now() + Math.min(longestWait, retryMs * 2 ** Math.min(failures - 1, 20)),
    };
  }

  return {
    async follow(trigger, what) {
      if (trigger.status === undefined) return;
      const { team, app, remote } = trigger;
      await write(
        {
          ...what,
          repository: `${team}/${app}`,
          url: remote.url,
          failures: 0,
          notBefore: now(),
          since: now(),
        },
        undefined,
      );
    },
    work() {
      const limit = createLimit(toldAtOnce);
      let closed = false;
      let running: Promise<void> | undefined;
      const round = async (): Promise<void> => {
        let startAfter: string | undefined;
        do {
          const page = await store.list({
            prefix,
            limit: 200,
            ...(startAfter === undefined ? {} : { startAfter }),
          });
          await Promise.all(
            page.objects.map(({ key }) =>
              limit(async () => {
                if (!closed) await look(key);
              }).catch((error: unknown) => log.warn({ err: error }, 'commit status will be tried again')),
            ),
          );
          startAfter = page.next;
        } while (startAfter !== undefined);
      };
      const start = (): void => {
        running ??= round()
          .catch((error: unknown) => log.warn({ err: error }, 'commit statuses could not be looked through'))
          .finally(() => {
            running = undefined;
          });
      };
      const timer = triggers.some(({ status }) => status !== undefined)
        ? setInterval(start, pollMs)
        : undefined;
      return {
        async close() {
          closed = true;
          clearInterval(timer);
          await running;
        },
      };
    },
  };
}

/** Never a redirect, and never an address that the trigger's own repository may not have either. */
function openTransport({ remote, status }: Trigger): Transport {
  return createTransport(
    { timeoutMs, ...(status?.ca === undefined ? {} : { ca: status.ca }) },
    (_, address) => !isLinkLocal(address) && (remote.privateNetwork || isPublicAddress(address)),
  );
}

async function exchange(
  transport: Transport,
  { url, headers, body }: { url: URL; headers: Readonly<Record<string, string>>; body: Buffer },
): Promise<{ status: number; text: string }> {
  const answer = await transport.send({
    method: 'POST',
    url,
    headers: { ...headers, 'content-length': String(body.length) },
    body,
  });
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > mostAnswer) break;
    chunks.push(chunk);
  }
  return { status: answer.status, text: Buffer.concat(chunks).toString('utf8') };
}
