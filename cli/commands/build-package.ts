import { readFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import type { BuildView } from '../../builder/http/build-routes.ts';
import { packageEndings, parsePackageName } from '../../builder/package/package-name.ts';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';
import { createProgress, lineProgress } from '../progress.ts';
import { messageOf, type ServerApi } from '../server-api.ts';
import { formatBytes } from '../text.ts';
import { uploadFile } from '../upload-file.ts';

/** What `build FILE` may say instead of an App.yaml in the package. */
export interface PackageFlags {
  readonly tag?: string;
  readonly app?: string;
  readonly base?: string;
  readonly command?: string;
  readonly port?: string;
}

/** An App.yaml travels in the request's address, which servers and proxies bound. Bytes, encoded. */
const longestAppFile = 16 * 1024;

/** The name that a package's file gives to its application. Errors: UserError when it is no package. */
export function packageStem(file: string): string {
  const name = parsePackageName(basename(file));
  if (name !== undefined) return name.stem;
  throw new UserError(`${file} is no package: its name must end with ${packageEndings.join(', ')}`, {
    exitCode: 2,
  });
}

/** Sends a package and returns its build, which waits or runs. Errors: UserError. */
export async function sendPackage(
  context: CliContext,
  api: ServerApi,
  package_: { file: string; repository: string; flags: PackageFlags; terminal?: boolean },
): Promise<BuildView> {
  const { file, repository, flags, terminal = process.stderr.isTTY } = package_;
  const query = new URLSearchParams({ name: basename(file) });
  for (const key of ['tag', 'base', 'command', 'port'] as const) {
    const value = flags[key];
    if (value !== undefined) query.set(key, value);
  }
  if (flags.app !== undefined) query.set('appfile', await readAppFileText(context, flags.app));
  // Who is not known here learns it before the whole package has been sent.
  await api.call('GET', '/api/v1/builds?limit=1');
  const progress = terminal
    ? createProgress(process.stderr)
    : lineProgress((line) => context.stderr(`${line}\n`));
  const step = `sending ${basename(file)}`;
  let total = 0;
  try {
    const { status, body } = await uploadFile({
      url: `${api.url}/api/v1/packages/${repository}?${query.toString()}`,
      file,
      ...(api.authorization === undefined ? {} : { authorization: api.authorization }),
      onProgress(sent, size) {
        total = size;
        progress.update(step, sent, size);
      },
    });
    if (status === 202) {
      progress.finish(step, formatBytes(total));
      return JSON.parse(body) as BuildView;
    }
    throw new UserError(messageOf(body) ?? `${api.url} answered ${status}`);
  } finally {
    progress.close();
  }
}

async function readAppFileText(context: CliContext, path: string): Promise<string> {
  const file = resolve(context.cwd, path);
  const text = await readFile(file, 'utf8').catch((cause: Error) => {
    throw new UserError(`cannot read ${file}: ${cause.message}`, { cause, exitCode: 2 });
  });
  if (encodeURIComponent(text).length <= longestAppFile) return text;
  throw new UserError(`${file} is too long to be sent beside a package; put it into the archive as App.yaml`);
}
