import { frontBytes, frontBytesHttp } from './front-bytes.ts';
import type { FrontModel } from './front-model.ts';
import { httpBasics } from './http-basics.ts';
import { listener } from './listener.ts';
import type { Directive } from './render.ts';
import { unavailable } from './unavailable.ts';

/** Seconds without a byte in the middle of an upload or of an answer; never how long it may take as a whole. */
const idle = '15m';

/** The whole of a `nginx.conf`. */
export function frontConfig(model: FrontModel): Directive[] {
  const { folder } = model;
  return [
    ...(model.user === undefined ? [] : ([['user', model.user]] as const)),
    ['worker_processes', 'auto'],
    ['pid', `${folder}/nginx.pid`],
    ['error_log', `${folder}/error.log warn`],
    // Pulls under way end on the old workers after a reload.
    ['worker_shutdown_timeout', '15m'],
    ['events', '', [['worker_connections', '4096']]],
    ['http', '', http(model)],
  ];
}

function http(model: FrontModel): Directive[] {
  const { folder } = model;
  return [
    ...httpBasics(folder, 'application/octet-stream'),
    ['send_timeout', idle],
    ['client_max_body_size', '0'],
    ['proxy_http_version', '1.1'],
    ['proxy_connect_timeout', '3s'],
    ['proxy_send_timeout', idle],
    ['proxy_read_timeout', idle],
    [
      'map',
      '$request_uri $front_path',
      [
        ['default', '-'],
        ['"~^(?<front_matched>[^?]*)"', '$front_matched'],
      ],
    ],
    ['log_format', logFormat],
    ['access_log', `${folder}/access.log front buffer=64k flush=1s`],
    ['upstream', 'brickyard_replicas', replicas(model)],
    ...frontBytesHttp(model),
    ['server', '', server(model)],
  ];
}

/** Neither a query nor a header of the client: both may hold secrets. */
const logFormat =
  'front escape=json \'{"time":"$time_iso8601","client":"$remote_addr","method":"$request_method","path":"$front_path","status":$status,' +
  '"sent":$bytes_sent,"seconds":$request_time,"upstream":"$upstream_addr","upstreamReceived":"$upstream_bytes_received","cache":"$upstream_cache_status"}\'';

function replicas(model: FrontModel): Directive[] {
  return [
    // What is known of each is shared by the workers.
    ['zone', 'brickyard_replicas 256k'],
    ['least_conn', ''],
    ...model.replicas.map((replica): Directive => ['server', `${replica} max_fails=2 fail_timeout=5s`]),
    // Less than the 75 s after which a replica ends an idle connection.
    ['keepalive', '64'],
    ['keepalive_timeout', '60s'],
  ];
}

function server(model: FrontModel): Directive[] {
  const { bytes } = model;
  return [
    ...listener(model),
    ['server_name', model.serverName],
    ['error_page', '502 504 = @unavailable'],
    [
      'location',
      // Which location it is decides about buffers and time-outs only: the replica reads the path again, and decides about rights.
      '~ "^/v2/.+/blobs/sha[0-9]+:[0-9a-f]+$"',
      [
        ...toReplicas(model, bytes.kind === 'none' ? '""' : bytes.kind),
        ['proxy_read_timeout', '60s'],
        ['proxy_buffers', '16 64k'],
        ['proxy_max_temp_file_size', '0'],
        ['proxy_ignore_headers', ignored.join(' ')],
      ],
    ],
    [
      'location',
      '/',
      [
        ...toReplicas(model, '""'),
        // Uploads and git pushes pass as they come; so do live logs.
        ['proxy_request_buffering', 'off'],
        ['proxy_buffering', 'off'],
        ['proxy_buffer_size', '32k'],
        ['proxy_buffers', '8 32k'],
        ['proxy_ignore_headers', ['X-Accel-Redirect', ...ignored].join(' ')],
      ],
    ],
    // Each replica counts for itself: asked through a balancer, the numbers are anybody's, and here the asker would be too.
    ['location', '= /metrics', [['return', '404']]],
    ...frontBytes(model),
    ['location', '@unavailable', unavailable('no replica of the registry answers')],
  ];
}

/** What a replica says to nginx itself, beside where the bytes are. */
const ignored = ['X-Accel-Expires', 'X-Accel-Limit-Rate', 'X-Accel-Buffering', 'X-Accel-Charset'];

/** `announcement`: what this front tells the replica it can send itself; whatever a client says of that is dropped. */
function toReplicas({ allowPlain }: FrontModel, announcement: string): Directive[] {
  // At the edge nobody else's word counts. Behind something that speaks TLS, replicas tell the addresses of proxies that they trust from the client's.
  const client = allowPlain ? '$proxy_add_x_forwarded_for' : '$remote_addr';
  return [
    ['proxy_pass', 'http://brickyard_replicas'],
    ['proxy_set_header', 'Host $http_host'],
    ['proxy_set_header', 'Connection ""'],
    ['proxy_set_header', `X-Forwarded-For ${client}`],
    ['proxy_set_header', 'X-Forwarded-Proto $scheme'],
    ['proxy_set_header', 'X-Forwarded-Host $http_host'],
    ['proxy_set_header', `X-Brickyard-Front ${announcement}`],
    // nginx sends a POST or PATCH to a second replica only when the first got none of it; a repeated GET, PUT or DELETE does no harm.
    ['proxy_next_upstream', 'error timeout'],
    ['proxy_next_upstream_tries', '3'],
    ['proxy_next_upstream_timeout', '30s'],
  ];
}
