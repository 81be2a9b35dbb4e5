import { setTimeout as sleep } from 'node:timers/promises';
import { Counter, collectDefaultMetrics, Gauge, Histogram, type Metric, Registry } from 'prom-client';

/** What a service counts about itself. Labels are route patterns, pools or queues: never a repository, tag or digest. */
export interface Metrics {
  /** prom-client's own registry, for metrics that a room defines itself. */
  readonly registry: Registry;
  /** `route` is a pattern such as `/v2/<name>/manifests/<reference>`. */
  observeRequest(method: string, route: string, status: number, seconds: number): void;
  counter(name: string, help: string, labels?: readonly string[]): Counter;
  gauge(name: string, help: string, labels?: readonly string[]): Gauge;
  /** `buckets` are upper bounds in seconds. */
  histogram(name: string, help: string, buckets: readonly number[], labels?: readonly string[]): Histogram;
  /**
   * Numbers that are kept elsewhere and asked for at each scrape: `read` gives them by name. Names that end in `_total` are counters.
   * One that is not given, and all of them when `read` fails or takes longer than two seconds, keep what they last were.
   */
  readings(helps: Readonly<Record<string, string>>, read: () => Promise<Readings>): void;
  /** As `readings`, with labels: `read` gives the samples of the declared families by name. */
  families(
    declared: readonly MetricFamily[],
    read: () => Promise<ReadonlyMap<string, readonly Sample[]>>,
  ): void;
  /** In Prometheus' text format. */
  render(): Promise<string>;
  readonly contentType: string;
}

/** A store that does not answer must not keep the rest of the numbers back. */
const readMs = 2000;

export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
}

/** One line of a family. */
export interface Sample {
  readonly value: number;
  readonly labels?: Readonly<Record<string, string>>;
  /** Of the family's name; for histograms. */
  readonly suffix?: '_bucket' | '_sum' | '_count';
}

export type Readings = Readonly<Record<string, number | undefined>>;

/** `process`: also memory, event loop and garbage collection of this process (it starts a watcher, so not in unit tests). */
export function createMetrics(options: { process?: boolean } = {}): Metrics {
  const registry = new Registry();
  if (options.process === true) collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from a request to the end of its response.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600],
    registers: [registry],
  });
  const readers: (() => Promise<void>)[] = [];
  // prom-client hashes the labels at every call; this is on the way of each request, so their handles are kept.
  // There are as many as there are methods × routes × statuses.
  const handles = new Map<string, { observe(seconds: number): void }>();
  return {
    registry,
    observeRequest(method, route, status, seconds) {
      const key = `${method} ${route} ${status}`;
      let handle = handles.get(key);
      if (handle === undefined) {
        handle = requests.labels(method, route, String(status));
        handles.set(key, handle);
      }
      handle.observe(seconds);
    },
    counter: (name, help, labels = []) =>
      new Counter({ name, help, labelNames: [...labels], registers: [registry] }),
    gauge: (name, help, labels = []) =>
      new Gauge({ name, help, labelNames: [...labels], registers: [registry] }),
    histogram: (name, help, buckets, labels = []) =>
      new Histogram({ name, help, buckets: [...buckets], labelNames: [...labels], registers: [registry] }),
    readings(helps, read) {
      const known = new Map<string, (value: number) => void>();
      for (const [name, help] of Object.entries(helps)) {
        if (name.endsWith('_total')) {
          const counter = new Counter({ name, help, registers: [registry] });
          known.set(name, (value) => {
            counter.reset();
            counter.inc(value);
          });
        } else {
          const gauge = new Gauge({ name, help, registers: [registry] });
          known.set(name, (value) => gauge.set(value));
        }
      }
      readers.push(async () => {
        const values = await read();
        for (const [name, set] of known) {
          const value = values[name];
          if (value !== undefined) set(value);
        }
      });
    },
    families(declared, read) {
      let latest: ReadonlyMap<string, readonly Sample[]> = new Map();
      for (const family of declared) {
        const get = async () => ({
          ...family,
          values: (latest.get(family.name) ?? []).map(({ value, labels = {}, suffix = '' }) => ({
            value,
            labels,
            metricName: `${family.name}${suffix}`,
          })),
        });
        // prom-client has no class for numbers that it did not count itself; its registry asks for no more than this.
        registry.registerMetric({ ...family, get } as unknown as Metric);
      }
      readers.push(async () => {
        latest = new Map([...latest, ...(await read())]);
      });
    },
    async render() {
      const late = new AbortController();
      const read = Promise.allSettled(readers.map((reader) => reader()));
      const patience = sleep(readMs, undefined, { signal: late.signal }).catch(() => {});
      await Promise.race([read, patience]);
      late.abort();
      return registry.metrics();
    },
    contentType: registry.contentType,
  };
}
