/** One server-sent event. */
export interface ServerEvent {
  /** The last id that was sent, by this event or one before it. */
  readonly id: string;
  /** `message` where the server named none. */
  readonly type: string;
  readonly data: string;
}

/** A server that sends so much without ending an event is none of ours. Characters. */
const longestEvent = 16 * 1024 * 1024;

/**
 * Events of a stream of text (HTML standard, 9.2.6); comments and `retry` are left out. An event that the end of the stream cuts off is none.
 * Errors: those of `text`; Error for an event without end.
 */
export async function* parseServerEvents(text: AsyncIterable<string>): AsyncGenerator<ServerEvent> {
  let id = '';
  let type = '';
  let data: string[] = [];
  let rest = '';
  for await (const part of text) {
    const lines = (rest + part).split(/\r?\n/);
    rest = lines.pop() ?? '';
    if (rest.length > longestEvent) throw new Error('an event of the server has no end');
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield { id, type: type === '' ? 'message' : type, data: data.join('\n') };
        type = '';
        data = [];
        continue;
      }
      const colon = line.indexOf(':');
      const field = colon === -1 ? line : line.slice(0, colon);
      const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'data') data.push(value);
      else if (field === 'id') id = value;
      else if (field === 'event') type = value;
    }
  }
}
