import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ChannelListener, DispatchChannel } from '../../core/queue/dispatch-channel.ts';

export interface ChannelUnderTest {
  /** Every call gives another view of one channel, as another process would have it. */
  open(): DispatchChannel;
  close(): Promise<void> | void;
}

/** What every way from the dispatcher to the workers must do. Losing hints is allowed, but not to a channel whose parts all live. */
export function dispatchChannelSuite(
  name: string,
  create: () => Promise<ChannelUnderTest> | ChannelUnderTest,
): void {
  describe(`${name} is a dispatch channel`, () => {
    let opened: ChannelUnderTest;
    let listeners: ChannelListener[];
    beforeEach(async () => {
      opened = await create();
      listeners = [];
    });
    afterEach(async () => {
      await Promise.all(listeners.map((listener) => listener.close()));
      await opened.close();
    });

    const heardBy = (worker: string, onJob: (id: string) => Promise<void> = async () => {}): string[] => {
      const heard: string[] = [];
      listeners.push(
        opened.open().listen(worker, (id) => {
          heard.push(id);
          return onJob(id);
        }),
      );
      return heard;
    };
    const untilEmpty = (): Promise<void> =>
      vi.waitFor(async () => expect(await opened.open().released()).toEqual([]), { timeout: 10_000 });

    it('brings a job to the worker that it was released to, and to no other', async () => {
      const [one, two] = [heardBy('worker-1'), heardBy('worker-2')];
      const channel = opened.open();

      await Promise.all([channel.release('worker-1', 'a'), channel.release('worker-2', 'b')]);
      await untilEmpty();

      expect([one, two]).toEqual([['a'], ['b']]);
    });

    it('keeps hints for a worker that listens later', async () => {
      const channel = opened.open();
      await channel.release('worker-1', 'a');
      await channel.release('worker-1', 'b');
      expect((await opened.open().released()).toSorted((x, y) => (x.id < y.id ? -1 : 1))).toEqual([
        { worker: 'worker-1', id: 'a' },
        { worker: 'worker-1', id: 'b' },
      ]);

      const heard = heardBy('worker-1');
      await untilEmpty();

      expect(heard.toSorted()).toEqual(['a', 'b']);
    });

    it('takes the same release twice, and a withdrawal of what is not there', async () => {
      const channel = opened.open();
      await channel.release('worker-1', 'a');
      await channel.release('worker-1', 'a');
      await channel.withdraw('worker-1', 'other');

      expect(await channel.released()).toEqual([{ worker: 'worker-1', id: 'a' }]);
    });

    it('forgets what was withdrawn', async () => {
      const channel = opened.open();
      await channel.release('worker-1', 'a');
      await channel.release('worker-1', 'b');
      await channel.withdraw('worker-1', 'a');

      const heard = heardBy('worker-1');
      await untilEmpty();

      expect(heard).toEqual(['b']);
    });

    it('brings a job again that was released again after it was heard', async () => {
      const channel = opened.open();
      const heard = heardBy('worker-1');
      await channel.release('worker-1', 'a');
      await untilEmpty();
      await channel.release('worker-1', 'a');
      await untilEmpty();

      expect(heard).toEqual(['a', 'a']);
    });

    it('brings nothing to a worker that has stopped listening', async () => {
      const heard = heardBy('worker-1');
      await Promise.all(listeners.splice(0).map((listener) => listener.close()));
      const channel = opened.open();
      await channel.release('worker-1', 'a');

      const after = heardBy('worker-1');
      await untilEmpty();

      expect([heard, after]).toEqual([[], ['a']]);
    });
  });
}
