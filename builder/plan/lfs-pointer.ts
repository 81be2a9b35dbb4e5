/** git-lfs, docs/spec.md: a pointer has fewer bytes, and its first line is one of these. */
export const maxLfsPointerBytes = 1024;
const firstLines = [
  'version https://git-lfs.github.com/spec/v1\n',
  'version https://hawser.github.com/spec/v1\n',
];

/** Whether a file is what Git LFS commits in the place of a large one: three lines that say where its content is. */
export function isLfsPointer(content: Uint8Array): boolean {
  if (content.length >= maxLfsPointerBytes || content.length === 0) return false;
  const text = Buffer.from(content.buffer, content.byteOffset, content.length).toString('latin1');
  return firstLines.some((line) => text.startsWith(line)) && text.includes('\noid sha256:');
}

/** For an error about such a file. */
export const lfsPointerReason =
  'it is a Git LFS pointer, not the file itself, and LFS content is not fetched: commit the file (git lfs untrack, then git add --renormalize), fetch it in build commands, or leave it out with source.exclude';
