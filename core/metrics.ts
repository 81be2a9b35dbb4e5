import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** What a service counts about itself. Labels are route patterns, pools or queues: never a repository, tag or digest. */
export interface Metrics {
  /** prom-client's own registry, for metrics that a room defines itself. */
  readonly registry: Registry;
  /** `route` is a pattern such as `/v2/<name>/manifests/<reference>`. */
  observeRequest(method: string, route: string, status: number, seconds: number): void;
  counter(name: string, help: string, labels?: readonly string[]): Counter;
  gauge(name: string, help: string, labels?: readonly string[]): Gauge;
  /** In Prometheus' text format. */
  render(): Promise<string>;
  readonly contentType: string;
}

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
    render: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
