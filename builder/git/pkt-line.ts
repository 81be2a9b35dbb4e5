/** Git's pkt-line framing (gitprotocol-common(5)): four hex digits of length, themselves included; `0000` is a flush. */
export function pktLine(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([Buffer.from((payload.length + 4).toString(16).padStart(4, '0')), payload]);
}

export const flushPacket = Buffer.from('0000');

/** Payloads of one section, up to the next flush; undefined at the stream's end. Errors: it ended within a section, or is no pkt-line. */
export type PktReader = () => Promise<Buffer[] | undefined>;

/** `limit`: most bytes that one section may hold. */
export function createPktReader(source: AsyncIterable<Buffer>, limit: number): PktReader {
  const iterator = source[Symbol.asyncIterator]();
  let pending: Buffer = Buffer.alloc(0);

  async function take(bytes: number): Promise<Buffer | undefined> {
    while (pending.length < bytes) {
      const next = await iterator.next();
      if (next.done === true) {
        if (pending.length === 0) return undefined;
        throw new Error('git ended in the middle of a packet');
      }
      pending = pending.length === 0 ? next.value : Buffer.concat([pending, next.value]);
    }
    const part = pending.subarray(0, bytes);
    pending = pending.subarray(bytes);
    return part;
  }

  return async () => {
    const packets: Buffer[] = [];
    let total = 0;
    for (;;) {
      const head = (await take(4))?.toString('latin1');
      if (head === undefined) {
        if (total === 0) return undefined;
        throw new Error('git ended in the middle of a section');
      }
      if (head === '0000') return packets;
      const length = /^[0-9a-f]{4}$/i.test(head) ? Number.parseInt(head, 16) - 4 : -1;
      if (length < 0) throw new Error('git sent something that is no packet');
      total += length;
      if (total > limit) throw new Error('git sent more than is taken');
      const payload = length === 0 ? Buffer.alloc(0) : await take(length);
      if (payload === undefined) throw new Error('git ended in the middle of a packet');
      packets.push(Buffer.from(payload));
    }
  };
}
