import { readTar } from '../../../oci/layer/tar-reader.ts';
import { compileGlob } from '../../plan/glob.ts';
import type { BuildPlan } from '../../plan/plan.ts';
import { pathText, refusePath } from '../../plan/select-source.ts';
import type { TestArtifact } from '../engine.ts';
import { workspaceLimits, workspacePath } from './outputs.ts';

export interface ArtifactLimits {
  readonly files: number;
  /** Bytes of all files together. */
  readonly bytes: number;
}

export const artifactLimits: ArtifactLimits = { files: 500, bytes: 8 * 1024 ** 2 };

/**
 * Files of the workspace that fit one of `patterns`, in the order of the archive; those that are too many or too large are
 * left out and told of. Links and special files are nobody's reports.
 */
export async function readArtifacts(input: {
  readonly plan: BuildPlan;
  readonly patterns: readonly string[];
  readonly limits: ArtifactLimits;
  /** The workspace as the engine's archive. */
  readonly archive: AsyncIterable<Uint8Array>;
  readonly log: (line: string) => void;
}): Promise<readonly TestArtifact[]> {
  const { plan, limits, log } = input;
  const globs = input.patterns.map(compileGlob);
  const used = new Set<string>();
  const artifacts: TestArtifact[] = [];
  let bytes = 0;
  let left = 0;
  for await (const { entry, body } of readTar(input.archive, workspaceLimits)) {
    if (entry.type !== 'file') continue;
    const path = pathText(workspacePath(plan, entry.path));
    const matching = globs.filter((glob) => glob.matches(path));
    for (const { pattern } of matching) used.add(pattern);
    if (matching.length === 0 || refusePath(path) !== undefined) continue;
    if (artifacts.length >= limits.files || bytes + entry.size > limits.bytes) {
      left += 1;
      continue;
    }
    bytes += entry.size;
    const chunks: Buffer[] = [];
    for await (const chunk of body) chunks.push(chunk);
    artifacts.push({ path, content: Buffer.concat(chunks) });
  }
  for (const { pattern } of globs) {
    if (!used.has(pattern)) log(`no file fits the artifact ${JSON.stringify(pattern)}`);
  }
  if (left > 0) {
    const most = `${limits.files} files and ${Math.floor(limits.bytes / 1024 ** 2)} MiB`;
    log(`${left} artifacts are not kept: a build may keep ${most}`);
  }
  return artifacts;
}
