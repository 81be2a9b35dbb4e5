import { maxAppFileBytes } from '../appfile/parse-appfile.ts';
import type { PackageNote } from '../package/package-note.ts';
import type { SourceTree } from '../plan/source-tree.ts';
import { formatBytes } from './report.ts';

/** Tells in a build's log of which package it is, and shows an App.yaml that nobody has seen yet. */
export async function reportPackage(
  note: PackageNote | undefined,
  source: Pick<SourceTree, 'readFile'>,
  write: (line: string) => void,
): Promise<void> {
  if (note === undefined) return;
  const files = `${note.files} ${note.files === 1 ? 'file' : 'files'}`;
  write(`  package ${note.name}: ${formatBytes(note.bytes)}, ${files}, sha256 ${note.sha256.slice(0, 12)}`);
  if (note.top !== undefined) write(`  everything lay in ${JSON.stringify(note.top)}, which is left out`);
  if (note.appfile !== 'proposed') return;
  write('  it brings no App.yaml; this one was made for it, and --app gives another:');
  const text = (await source.readFile('App.yaml', maxAppFileBytes))?.toString('utf8') ?? '';
  for (const line of text.trimEnd().split('\n')) write(`  │ ${line}`);
}
