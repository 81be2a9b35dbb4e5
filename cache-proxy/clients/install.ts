import { createHash } from 'node:crypto';
import { readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { UserError } from '../../core/user-error.ts';
import type { ClientFile, ClientMerge, ClientPool, ClientSetup, NodeClient } from './client-setup.ts';
import {
  type InstalledFile,
  type InstalledMerge,
  type InstallRecord,
  readRecord,
  recordFolder,
  removeRecord,
  writeRecord,
} from './install-record.ts';
import { mergeLists, unmergeLists } from './json-merge.ts';
import { type PlainFile, readPlainFile } from './plain-file.ts';
import { writeWhole } from './write-whole.ts';

export interface InstallReport {
  /** What was done, a line each: `written /etc/…`. */
  readonly done: readonly string[];
  /** Paths that were changed by somebody since, and so left alone. */
  readonly left: readonly string[];
}

interface PlannedFile {
  readonly entry: InstalledFile;
  readonly content: string;
  /** What it replaces for the first time. */
  readonly old?: PlainFile;
}

interface PlannedMerge {
  readonly entry: InstalledMerge;
  readonly text: string;
}

/**
 * Writes the files of `setups` below `root` and keeps what they replace. Again with another configuration: what these clients no longer need goes, and
 * what was there before the first time stays what `uninstall` puts back. Errors: UserError; where a file cannot be taken over, before anything is changed.
 */
export async function install(
  root: string,
  pool: ClientPool,
  setups: readonly ClientSetup[],
): Promise<InstallReport> {
  const earlier = await readRecord(root, pool.name);
  const files = await planFiles(root, pool.name, setups, earlier);
  const merges = await planMerges(root, setups, earlier);

  const paths = new Set([...files, ...merges].map(({ entry }) => entry.path));
  const clients = new Set(setups.map(({ client }) => client));
  const isDropped = ({ client, path }: InstalledFile | InstalledMerge): boolean =>
    clients.has(client) && !paths.has(path);
  const isOthers = ({ client }: InstalledFile | InstalledMerge): boolean => !clients.has(client);
  const record = (keep: (entry: InstalledFile | InstalledMerge) => boolean): InstallRecord => ({
    version: 1,
    pool: pool.name,
    endpoint: pool.endpoint,
    registries: pool.registries.map(({ host }) => host),
    ...(pool.ca === undefined ? {} : { ca: pool.ca }),
    files: [...files.map(({ entry }) => entry), ...(earlier?.files ?? []).filter(keep)],
    merges: [...merges.map(({ entry }) => entry), ...(earlier?.merges ?? []).filter(keep)],
  });

  const folder = recordFolder(root, pool.name);
  for (const { entry, old } of files) {
    if (entry.before !== undefined && old !== undefined) {
      await writeWhole(join(folder, entry.before), old.bytes, old.mode);
    }
  }
  await writeRecord(
    root,
    record((entry) => isOthers(entry) || isDropped(entry)),
  );
  const done: string[] = [];
  for (const { entry, content } of files) {
    if (await writeChanged(join(root, entry.path), content)) done.push(`written ${entry.path}`);
  }
  for (const { entry, text } of merges) {
    if (await writeChanged(join(root, entry.path), text)) done.push(`changed ${entry.path}`);
  }
  const undone = await takeBack(root, folder, {
    files: (earlier?.files ?? []).filter(isDropped),
    merges: (earlier?.merges ?? []).filter(isDropped),
  });
  await writeRecord(root, record(isOthers));
  return { done: [...done, ...undone.done], left: undone.left };
}

/**
 * Takes back what `install` did, for some clients or for all (undefined). What was replaced stays findable as long as something of ours may still
 * stand in its place. Returns undefined when nothing was installed. Errors: UserError.
 */
export async function uninstall(
  root: string,
  pool: string,
  clients?: readonly NodeClient[],
): Promise<InstallReport | undefined> {
  const record = await readRecord(root, pool);
  if (record === undefined) return undefined;
  const isMeant = ({ client }: InstalledFile | InstalledMerge): boolean => clients?.includes(client) ?? true;
  const files = record.files.filter(isMeant);
  const merges = record.merges.filter(isMeant);
  const report = await takeBack(root, recordFolder(root, pool), { files, merges });
  const rest = {
    ...record,
    files: record.files.filter((file) => !isMeant(file) || report.left.includes(file.path)),
    merges: record.merges.filter((merge) => !isMeant(merge)),
  };
  if (rest.files.length + rest.merges.length === 0) await removeRecord(root, pool);
  else await writeRecord(root, rest);
  return report;
}

async function planFiles(
  root: string,
  pool: string,
  setups: readonly ClientSetup[],
  earlier: InstallRecord | undefined,
): Promise<PlannedFile[]> {
  const kept = await readdir(recordFolder(root, pool)).catch(() => []);
  const planned: PlannedFile[] = [];
  for (const { client, files } of setups) {
    for (const file of files) {
      const before = `before-${kept.length + planned.length}`;
      planned.push(await planFile(root, client, file, earlier, before));
    }
  }
  return planned;
}

async function planFile(
  root: string,
  client: NodeClient,
  { path, content }: ClientFile,
  earlier: InstallRecord | undefined,
  before: string,
): Promise<PlannedFile> {
  const present = await readPlainFile(join(root, path));
  const ours = earlier?.files.find((each) => each.path === path);
  const entry = { client, path, sha256: sha256(content) };
  if (ours === undefined) {
    return present === undefined
      ? { entry, content }
      : { entry: { ...entry, before }, content, old: present };
  }
  if (present !== undefined && ![ours.sha256, entry.sha256].includes(sha256(present.bytes))) {
    throw new UserError(
      `${path} was changed since it was installed, and nothing was done; remove it, or undo the installation (--undo), and run this again`,
    );
  }
  return { entry: { ...entry, ...(ours.before === undefined ? {} : { before: ours.before }) }, content };
}

async function planMerges(
  root: string,
  setups: readonly ClientSetup[],
  earlier: InstallRecord | undefined,
): Promise<PlannedMerge[]> {
  const planned: PlannedMerge[] = [];
  for (const { client, merges } of setups) {
    for (const merge of merges) planned.push(await planMerge(root, client, merge, earlier));
  }
  return planned;
}

async function planMerge(
  root: string,
  client: NodeClient,
  { path, add }: ClientMerge,
  earlier: InstallRecord | undefined,
): Promise<PlannedMerge> {
  const present = await readPlainFile(join(root, path));
  const ours = earlier?.merges.find((each) => each.path === path);
  const text = present?.bytes.toString('utf8') ?? '';
  const bare = ours === undefined ? text : unmergeLists(text, ours.added, madeKeys(ours), path);
  const { text: merged, added, made } = mergeLists(bare, add, path);
  const isNew = present === undefined || ours?.made === true;
  return { entry: { client, path, added, made: isNew ? true : made }, text: merged };
}

function madeKeys({ made, added }: InstalledMerge): readonly string[] {
  return made === true ? Object.keys(added) : made;
}

async function takeBack(
  root: string,
  folder: string,
  { files, merges }: Pick<InstallRecord, 'files' | 'merges'>,
): Promise<InstallReport> {
  const done: string[] = [];
  const left: string[] = [];
  for (const { path, sha256: written, before } of files) {
    const place = join(root, path);
    const present = await readPlainFile(place);
    const old = before === undefined ? undefined : await readPlainFile(join(folder, before));
    if (present !== undefined && sha256(present.bytes) !== written) {
      if (old === undefined || !old.bytes.equals(present.bytes)) left.push(path);
    } else if (old !== undefined) {
      await writeWhole(place, old.bytes, old.mode);
      done.push(`put back ${path}`);
    } else if (present !== undefined) {
      await removeFile(place);
      done.push(`removed ${path}`);
    }
  }
  for (const merge of merges) {
    const place = join(root, merge.path);
    const present = await readPlainFile(place);
    if (present === undefined) continue;
    const text = unmergeLists(present.bytes.toString('utf8'), merge.added, madeKeys(merge), merge.path);
    if (merge.made === true && text.trim() === '{}') {
      await removeFile(place);
      done.push(`removed ${merge.path}`);
    } else if (await writeChanged(place, text)) done.push(`changed back ${merge.path}`);
  }
  return { done, left };
}

/** With the folder it was alone in; a folder that others use is not empty. */
async function removeFile(path: string): Promise<void> {
  try {
    await rm(path);
  } catch (cause) {
    throw new UserError(`cannot remove ${path}: ${(cause as Error).message}`, { cause });
  }
  await rmdir(dirname(path)).catch(() => undefined);
}

/** False: it holds just that already. */
async function writeChanged(path: string, content: string): Promise<boolean> {
  const present = await readPlainFile(path);
  if (present?.bytes.equals(Buffer.from(content)) === true) return false;
  await writeWhole(path, content, present?.mode);
  return true;
}

function sha256(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}
