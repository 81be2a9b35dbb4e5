import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../../core/user-error.ts';
import type { KeptSources } from '../sources/kept-sources.ts';
import { createSourceCache } from '../sources/source-cache.ts';
import type { DebianDownload, DebianPackage, DebianRequest } from './apt.ts';
import type { DebianDownloads } from './downloads.ts';

/** What is written down of a download: everything but where the files lie. */
interface KeptPlan {
  readonly sources: string;
  readonly packages: readonly Omit<DebianPackage, 'file'>[];
}

/** Plans of the largest systems have some hundred packages. */
const largestPlan = 16 * 1024 * 1024;

/** The tag of what was fetched for a request, whatever was installed before: kept downloads begin with nothing. */
export function downloadTag({ suite, architecture, packages }: DebianRequest): string {
  const names = [...new Set(packages)].sort();
  const request = JSON.stringify([suite, architecture, names]);
  return `apt-${createHash('sha256').update(request).digest('hex')}`;
}

/** Keeps a download, made without `installed`, as one artifact: the plan, then its packages. */
export async function keepDownload(
  store: KeptSources,
  request: DebianRequest,
  { sources, packages }: DebianDownload,
): Promise<void> {
  const plan: KeptPlan = {
    sources,
    packages: packages.map(({ name, version, architecture, sha256, stanza }) => ({
      name,
      version,
      architecture,
      sha256,
      stanza,
    })),
  };
  const bytes = Buffer.from(JSON.stringify(plan));
  const files = await Promise.all(
    packages.map(async ({ name, version, sha256, file }) => ({
      content: { file, size: (await stat(file)).size },
      sha256,
      title: `${name} ${version}`,
    })),
  );
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  await store.keep(downloadTag(request), [{ content: bytes, sha256, title: 'plan.json' }, ...files]);
}

/**
 * Debian packages from our own store and nowhere else: those of the day when they were kept. What `installed` holds by name is left out,
 * as apt would. Errors: UserError when nothing was kept for a request; those of the registry.
 */
export function createKeptDownloads(store: KeptSources, cacheDir: string): DebianDownloads {
  const cache = createSourceCache(join(cacheDir, 'sources'));
  return {
    async download(request, { signal, onProgress }) {
      const plan = await readPlan(store, request);
      const there = installedNames(request.installed);
      const wanted = plan.packages.filter(({ name }) => !there.has(name));
      const packages: DebianPackage[] = [];
      onProgress(0, wanted.length);
      for (const each of wanted) {
        signal.throwIfAborted();
        const { sha256, name, version } = each;
        let file = await cache.find({ sha256 });
        if (file === undefined) {
          const body = await store.open(sha256);
          if (body === undefined) throw new UserError(`the store has lost ${name} ${version} (${sha256})`);
          file = await cache.keep({ sha256 }, body, signal);
        }
        packages.push({ ...each, file });
        onProgress(packages.length, wanted.length);
      }
      return { packages, sources: plan.sources };
    },
  };
}

async function readPlan(store: KeptSources, request: DebianRequest): Promise<KeptPlan> {
  const body = await store.openTagged(downloadTag(request));
  if (body === undefined) {
    throw new UserError(
      `Debian ${request.suite}'s packages ${request.packages.join(', ')} (${request.architecture}) are not in our own store; where the network is open, "brickyard base mirror" keeps them there`,
    );
  }
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.length;
    if (size > largestPlan) throw new UserError('the plan of kept Debian packages is too large to be one');
    parts.push(part);
  }
  // Written by `keepDownload`, into a repository that only administrators write.
  return JSON.parse(Buffer.concat(parts).toString()) as KeptPlan;
}

/** Names in dpkg's status file. Of what is removed but not purged an entry stays. */
function installedNames(status: Buffer | undefined): Set<string> {
  const names = new Set<string>();
  for (const stanza of (status?.toString() ?? '').split(/\n\n+/)) {
    const name = /^Package: (\S+)$/m.exec(stanza)?.[1];
    if (name !== undefined && /^Status: .* installed$/m.test(stanza)) names.add(name);
  }
  return names;
}
