import { flushPacket, pktLine } from './pkt-line.ts';
import type { RefsDocument } from './refs-document.ts';

/** What every git from 2.29 on (the oldest that is served) does for a push, as receive-pack itself says it with our settings. */
const capabilities =
  'report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta push-options object-format=sha1 agent=git/brickyard';

const noObject = '0'.repeat(40);

/**
 * The refs that a push starts from, in receive-pack's words (gitprotocol-pack(5), "Reference Discovery"). They are known from the store,
 * so no program has to be started to read them back from the cache on disk.
 */
export function pushAdvertisement({ refs }: Pick<RefsDocument, 'refs'>): Buffer {
  const lines = Object.entries(refs)
    .map(([ref, { commit }]) => ({ key: Buffer.from(ref), line: `${commit} ${ref}` }))
    .sort((a, b) => Buffer.compare(a.key, b.key))
    .map(({ line }) => line);
  const [first = `${noObject} capabilities^{}`, ...rest] = lines;
  return Buffer.concat([
    pktLine(`${first}\0${capabilities}\n`),
    ...rest.map((line) => pktLine(`${line}\n`)),
    flushPacket,
  ]);
}
