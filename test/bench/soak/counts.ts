/** What happened during one soak. */
export interface SoakCounts {
  /** Acknowledged operations of synthetic clients by name. */
  readonly operations: Map<string, number>;
  pushes: number;
  /** By programs that people use. */
  realPushes: number;
  realPulls: number;
  /** Pushes that ended with an error that their client may not answer by going on. */
  readonly failedPushes: string[];
  /** Something acknowledged that could not be read. */
  readonly losses: string[];
  /** Any other answer that nobody should get. */
  readonly faults: string[];
  /** Pushes that were told that a blob is unknown, and sent it again; those of a repository that was deleted meanwhile count apart. */
  askedAgain: number;
  refusedByDelete: number;
  /** Requests that were sent again because the connection broke or a server was away. */
  transportRetries: number;
  slowestPushMs: number;
  collections: number;
  collectionErrors: number;
  deletedBlobs: number;
  deletedBytes: number;
  revivedBlobs: number;
  droppedReferences: number;
  replicasKilled: number;
  collectorsKilled: number;
}

export function createCounts(): SoakCounts {
  return {
    operations: new Map(),
    pushes: 0,
    realPushes: 0,
    realPulls: 0,
    failedPushes: [],
    losses: [],
    faults: [],
    askedAgain: 0,
    refusedByDelete: 0,
    transportRetries: 0,
    slowestPushMs: 0,
    collections: 0,
    collectionErrors: 0,
    deletedBlobs: 0,
    deletedBytes: 0,
    revivedBlobs: 0,
    droppedReferences: 0,
    replicasKilled: 0,
    collectorsKilled: 0,
  };
}

export function countOperation(counts: SoakCounts, name: string): void {
  counts.operations.set(name, (counts.operations.get(name) ?? 0) + 1);
}
