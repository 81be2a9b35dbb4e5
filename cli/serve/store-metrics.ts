import type { Metrics } from '../../core/metrics.ts';
import type { RequestEvent } from '../../core/object-store/s3/requests.ts';

/** Counts what the S3 store is asked, and how long it takes until it begins to answer. */
export function storeObserver(metrics: Metrics): (event: RequestEvent) => void {
  const requests = metrics.counter(
    'brickyard_store_requests_total',
    'Requests to the object store; each sending counts. missing and precondition are answers, not errors.',
    ['operation', 'outcome'],
  );
  const seconds = metrics.counter(
    'brickyard_store_request_seconds_total',
    'Time until the object store began to answer.',
    ['operation'],
  );
  const bytes = metrics.counter(
    'brickyard_store_bytes_total',
    'Bytes of bodies to and from the object store.',
    ['direction'],
  );
  return ({ operation, outcome, seconds: took, sentBytes, receivedBytes }) => {
    requests.inc({ operation, outcome });
    seconds.inc({ operation }, took);
    if (sentBytes > 0) bytes.inc({ direction: 'sent' }, sentBytes);
    if (receivedBytes > 0) bytes.inc({ direction: 'received' }, receivedBytes);
  };
}
