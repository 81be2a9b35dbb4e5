/** An archive that is refused, and why. The text names the entry and no place of this machine: it may be shown to the sender. */
export class ArchiveError extends Error {
  override readonly name = 'ArchiveError';
}
