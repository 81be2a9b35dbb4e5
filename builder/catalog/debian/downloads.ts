import { join } from 'node:path';
import { type DebianDownload, type DebianRequest, downloadDebianPackages } from './apt.ts';

/** Debian packages for the levels of one run. */
export interface DebianDownloads {
  /** See `downloadDebianPackages`. Waits for earlier ones: apt locks its folders. */
  download(
    request: DebianRequest,
    options: { readonly signal: AbortSignal; readonly onProgress: (done: number, total: number) => void },
  ): Promise<DebianDownload>;
}

/** Package lists are fetched once, so that all levels of a run hold packages of one day. */
export function createDebianDownloads(cacheDir: string): DebianDownloads {
  const last = new Map<string, Promise<unknown>>();
  const fresh = new Set<string>();
  return {
    download(request, options) {
      const folder = join(cacheDir, 'apt', `${request.suite}-${request.architecture}`);
      const before = last.get(folder) ?? Promise.resolve();
      const download = before.then(async () => {
        options.signal.throwIfAborted();
        const listsAreFresh = fresh.has(folder);
        const downloaded = await downloadDebianPackages(request, { ...options, folder, listsAreFresh });
        fresh.add(folder);
        return downloaded;
      });
      last.set(
        folder,
        download.catch(() => undefined),
      );
      return download;
    },
  };
}
