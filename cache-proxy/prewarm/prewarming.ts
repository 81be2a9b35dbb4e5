import type { RawHandler } from '../../core/http/http-server.ts';
import type { OriginHealth } from '../agent/health.ts';
import type { OriginChange } from '../agent/origin-change.ts';
import type { OriginClient } from '../agent/origin-client.ts';
import type { EngineLog, PoolEngine } from '../pool-engine.ts';
import type { Pool } from '../pools/pool.ts';
import type { PullRecord } from '../pull-record.ts';

/** What fetches what nodes will ask for; runs beside the engine for as long as the pool does. None but `close` throws. */
export interface Prewarming {
  onRecord(record: PullRecord): void;
  /** The origin said so; undefined: it may have said things that nobody heard. */
  changed(change: OriginChange | undefined): void;
  /** `POST /_pool/warm`; whoever calls it has shown the agent's key. */
  readonly warm: RawHandler;
  /** For health and status, in JSON. */
  status(): unknown;
  /** Another configuration of the same pool. */
  reconfigure(pool: Pool): void;
  close(): Promise<void>;
}

/** `startPrewarming(pool, deps): Promise<Prewarming>` */
export interface PrewarmingDeps {
  readonly engine: PoolEngine;
  readonly health: OriginHealth;
  /** Of the configuration that is in force. */
  readonly origin: () => OriginClient;
  /** Authorization of the process' own requests through the engine; of the configuration that is in force. */
  readonly authorization: () => string;
  /** Whether the origin tells of pushes by itself; otherwise somebody has to ask. */
  readonly told: () => boolean;
  readonly log: EngineLog;
}
