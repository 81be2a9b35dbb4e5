/**
 * Carries jobs that the dispatcher has chosen to the worker that it chose. What lies in a channel is only a hint: the worker reads the job's record
 * and claims it by compare-and-set, so a hint may arrive twice, late, or at a worker that can do nothing with it. Losing all of them loses
 * nothing either: the dispatcher sees that a job still waits and releases it again.
 *
 * Worker and job ids are `[0-9A-Za-z][0-9A-Za-z_.-]*`, at most 120 characters.
 */
export interface DispatchChannel {
  /**
   * Hands a job to a worker. Releasing it again is no error, also while the first hint is still there.
   * Errors: whatever the transport throws; the dispatcher logs it and tries again.
   */
  release(worker: string, id: string): Promise<void>;
  /** Takes a hint back that its worker has not looked at; no error when it is not there. Errors as above. */
  withdraw(worker: string, id: string): Promise<void>;
  /** Hints that no worker has looked at yet, those for workers that are gone included: for a dispatcher that has just begun. Errors as above. */
  released(): Promise<readonly Release[]>;
  /**
   * Calls `onJob` for each hint for this worker, those from before included, and removes the hint once it resolves. It never rejects.
   * Faults of the transport go to the log of whoever made the channel; listening goes on by itself when they are over.
   */
  listen(worker: string, onJob: (id: string) => Promise<void>): ChannelListener;
}

export interface Release {
  readonly worker: string;
  readonly id: string;
}

export interface ChannelListener {
  /** Returns when no more `onJob` is called; does not wait for those that run. */
  close(): Promise<void>;
}
