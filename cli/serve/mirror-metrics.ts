import type { Metrics } from '../../core/metrics.ts';
import type { MirrorObserver } from '../../registry/mirror/deps.ts';

/** Counts what mirrors ask of their upstreams; there are as many label values as the configuration has hosts. */
export function mirrorObserver(metrics: Metrics): MirrorObserver {
  const requests = metrics.counter(
    'brickyard_mirror_requests_total',
    'What mirrors asked of an upstream, by how it answered: answered, unknown, refused, limited, failed.',
    ['upstream', 'outcome'],
  );
  const bytes = metrics.counter(
    'brickyard_mirror_blob_bytes_total',
    'Bytes of the blobs that began to come from an upstream.',
    ['upstream'],
  );
  const stale = metrics.counter(
    'brickyard_mirror_stale_total',
    'Manifests served by tag without being compared with the upstream, which did not answer.',
    ['upstream'],
  );
  return {
    asked: (upstream, outcome) => requests.inc({ upstream, outcome }),
    fetching: (upstream, size) => bytes.inc({ upstream }, size),
    servedStale: (upstream) => stale.inc({ upstream }),
  };
}
