import type { Command } from 'commander';
import { UserError } from '../../core/user-error.ts';
import {
  type Finding,
  type FindingKind,
  findingKinds,
  type Severity,
} from '../../registry/verify/finding.ts';
import type { VerifyStep } from '../../registry/verify/verification.ts';
import { type VerifyResult, verifyStore } from '../../registry/verify/verify-store.ts';
import { readConfig } from '../config.ts';
import type { CliContext } from '../context.ts';
import { openStore } from '../serve/open-store.ts';
import { formatBytes } from '../text.ts';

interface VerifyFlags {
  readonly config?: string;
  readonly bytes?: boolean;
  readonly parallel: string;
  readonly rate: string;
  readonly all?: boolean;
  readonly json?: boolean;
}

/** What the rest of the house keeps in the same store. */
const otherPrefixes = [
  'artifacts',
  'auth',
  'base-channels',
  'builds',
  'builds-tags',
  'cache',
  'git',
  'git-intents',
  'logs',
  'probe',
  'queue',
  'queue-order',
  'wave-images',
  'waves',
];

/** Lines of garbage and notes of one kind that are printed without `--all`. */
const shownOfKind = 10;

/** `verify`: reads the whole store, of a running server too, and tells of every inconsistency. Exit code 1 when something is damaged. */
export function registerVerify(program: Command, context: CliContext): void {
  program
    .command('verify')
    .description('read the whole store and report every inconsistency (may run while people push)')
    .option('--config <file>', 'configuration file (default: brickyard.yaml, where there is one)')
    .option('--bytes', 'also read all blobs and compare them with their digests')
    .option('--parallel <n>', 'requests to the store at once', '32')
    .option('--rate <n>', 'requests to the store in a second; 0 = no limit', '0')
    .option('--all', `print more than ${shownOfKind} lines of garbage and notes of each kind`)
    .option('--json', 'print JSON')
    .action(async (flags: VerifyFlags) => {
      const parallel = wholeNumber('--parallel', flags.parallel, 1, 1000);
      const requestsPerSecond = wholeNumber('--rate', flags.rate, 0, 1_000_000);
      const config = readConfig({
        ...(flags.config === undefined ? {} : { file: flags.config }),
        env: context.env,
        cwd: context.cwd,
      });
      const store = openStore(config);
      const progress = countProgress(process.stderr);
      const output = flags.json === true ? jsonOutput(context) : textOutput(context, flags.all === true);
      const started = performance.now();
      let result: VerifyResult;
      try {
        result = await verifyStore({
          store,
          bytes: flags.bytes === true,
          parallel,
          requestsPerSecond,
          allowMissingBlobs: config.registry.allowMissingBlobs,
          mirrored: config.mirrors.map(({ prefix }) => prefix),
          otherPrefixes,
          onFinding: (found) => output.finding(found),
          onProgress: progress.update,
        });
      } finally {
        progress.close();
        store.close();
      }
      output.end(result, performance.now() - started);
      const { damage } = result.severities;
      if (damage > 0)
        throw new UserError(damage === 1 ? 'one thing is damaged' : `${damage} things are damaged`);
    });
}

interface Output {
  finding(found: Finding): void;
  end(result: VerifyResult, milliseconds: number): void;
}

/** One document, written as it comes: there may be very many findings. */
function jsonOutput(context: CliContext): Output {
  let first = true;
  const open = (): void => {
    if (first) context.stdout('{"findings": [');
  };
  return {
    finding({ severity, kind, key, detail }) {
      open();
      context.stdout(`${first ? '' : ','}\n  ${JSON.stringify({ severity, kind, key, detail })}`);
      first = false;
    },
    end({ counts, findings, severities, requests }) {
      open();
      const rest = JSON.stringify({ counts, kinds: findings, severities, requests }, null, 2);
      context.stdout(`${first ? '' : '\n'}],${rest.slice(1)}\n`);
    },
  };
}

function textOutput(context: CliContext, all: boolean): Output {
  const shown: Partial<Record<FindingKind, number>> = {};
  return {
    finding({ severity, kind, key, detail }) {
      const count = (shown[kind] ?? 0) + 1;
      shown[kind] = count;
      if (!all && severity !== 'damage' && count > shownOfKind) return;
      context.stdout(
        `${severity.padEnd(8)} ${kind.padEnd(20)} ${key}${detail === '' ? '' : `: ${detail}`}\n`,
      );
    },
    end({ counts, findings, severities, requests }, milliseconds) {
      const lines = [
        `${counts.repositories} repositories, ${counts.manifests} manifests, ${counts.tags} tags, ${counts.uploads} upload sessions`,
        `${counts.blobs} blobs of ${formatBytes(counts.blobBytes)}, ${counts.dataObjects} data objects of ${formatBytes(counts.dataBytes)}`,
        `${counts.links} links, ${counts.references} references, ${counts.tombstones} tombstones`,
        `${requests} requests in ${(milliseconds / 1000).toFixed(1)} s`,
      ];
      const kinds = (Object.keys(findingKinds) as FindingKind[]).filter(
        (kind) => findings[kind] !== undefined,
      );
      for (const kind of kinds) {
        const { severity, meaning } = findingKinds[kind];
        lines.push(
          `${severity.padEnd(8)} ${String(findings[kind]).padStart(7)}  ${kind.padEnd(20)} ${meaning}`,
        );
      }
      lines.push(verdict(severities));
      context.stdout(`${lines.join('\n')}\n`);
    },
  };
}

function verdict({ damage, garbage, note }: Readonly<Record<Severity, number>>): string {
  if (damage > 0) return `DAMAGED: ${damage} (and garbage: ${garbage}, notes: ${note})`;
  if (garbage > 0) return `nothing is damaged; garbage for "brickyard gc": ${garbage}`;
  return 'nothing is damaged';
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new UserError(`${name} is a whole number from ${least} to ${most}`, { exitCode: 2 });
}

/** How far it came, of what nobody knows the size: one line that changes on a terminal, a line for each step elsewhere. */
function countProgress(stream: NodeJS.WriteStream): {
  readonly update: (step: VerifyStep, done: number) => void;
  readonly close: () => void;
} {
  let current: VerifyStep | undefined;
  return {
    update(step, done) {
      if (stream.isTTY) stream.write(`\r${step}: ${done}\u001B[K`);
      else if (step !== current) stream.write(`verifying ${step}\n`);
      current = step;
    },
    close() {
      if (stream.isTTY) stream.write('\r\u001B[K');
    },
  };
}
