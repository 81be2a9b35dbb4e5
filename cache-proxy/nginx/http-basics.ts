import type { Directive } from './render.ts';

/** What every nginx that carries images has first in its `http` block. `folder`: for temporary files. */
export function httpBasics(folder: string, defaultType: string): Directive[] {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind): Directive => [`${kind}_temp_path`, `${folder}/temp_${kind}`],
  );
  return [
    ...temporary,
    ['default_type', defaultType],
    ['server_tokens', 'off'],
    ['sendfile', 'on'],
    ['tcp_nopush', 'on'],
    // One client's fast pull does not hold a worker up.
    ['sendfile_max_chunk', '2m'],
    ['keepalive_requests', '10000'],
    ['reset_timedout_connection', 'on'],
    // A token that names many repositories is long.
    ['large_client_header_buffers', '4 32k'],
    ['client_header_timeout', '20s'],
    // Without a byte in the middle of an upload; never how long it may take as a whole.
    ['client_body_timeout', '15m'],
  ];
}
