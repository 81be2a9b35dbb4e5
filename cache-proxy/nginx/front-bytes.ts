import { isIP } from 'node:net';
import type { FrontModel, FrontStore } from './front-model.ts';
import { parseOrigin } from './grammar.ts';
import type { Directive } from './render.ts';
import { unavailable } from './unavailable.ts';

/** Certificates of Debian's ca-certificates. */
const systemCertificates = '/etc/ssl/certs/ca-certificates.crt';

/** What a replica said of the blob, and must reach the client although the bytes come from elsewhere. */
const kept = [
  ['Docker-Content-Digest', 'docker_content_digest'],
  ['Docker-Distribution-Api-Version', 'docker_distribution_api_version'],
  ['ETag', 'etag'],
  ['X-Content-Type-Options', 'x_content_type_options'],
] as const;

/** Beside the servers. */
export function frontBytesHttp({ bytes }: FrontModel): Directive[] {
  if (bytes.kind !== 's3') return [];
  const { cache, resolver } = bytes;
  const directives: Directive[] = [];
  if (cache !== undefined) {
    const { folder, maxSize, minFree, inactive } = cache;
    // 64 MiB of keys are 500,000 slices, which is 4 TB.
    const path = `${folder} levels=1:2 keys_zone=brickyard_bytes:64m max_size=${maxSize} min_free=${minFree} inactive=${inactive} use_temp_path=off`;
    directives.push([
      'proxy_cache_path',
      `${path} manager_files=1000 manager_threshold=1s manager_sleep=100ms`,
    ]);
  }
  if (resolver === undefined) {
    const { hostPort } = originOf(bytes);
    // Twice the same: one failure is tried again, and nginx tries no server twice.
    const server = `${hostPort} max_fails=0`;
    directives.push([
      'upstream',
      'brickyard_store',
      [
        ['server', server],
        ['server', server],
        ['keepalive', '32'],
      ],
    ]);
  }
  return directives;
}

/** The internal locations. */
export function frontBytes(model: FrontModel): Directive[] {
  const { bytes, prefix } = model;
  if (bytes.kind === 'none') return [];
  const lost: Directive[] = [
    // An outsider who asks for an internal place himself: no replica was asked.
    ['if', '($upstream_status = "")', [['return', '404']]],
    ...unavailable('the bytes of this blob cannot be read at the moment'),
  ];
  return [
    bytes.kind === 'files' ? fileLocation(prefix, bytes.folder) : storeLocation(prefix, bytes),
    // A replica with another store than this front was told of.
    ['location', `^~ ${prefix}`, [['internal', ''], ...unavailable('the front knows no such store')]],
    ['location', '@bytes_lost', lost],
  ];
}

function fileLocation(prefix: string, folder: string): Directive {
  return [
    'location',
    `^~ ${prefix}data/`,
    [
      ['internal', ''],
      // Only what blobs are made of: accounts' keys and records lie beside it.
      ['alias', `${folder}/data/`],
      ['types', '', []],
      ['aio', 'threads'],
      ['etag', 'off'],
      ['if_modified_since', 'off'],
      ['max_ranges', '1'],
      ...kept.map(
        ([name, variable]): Directive => ['add_header', `${name} $upstream_http_${variable} always`],
      ),
      ['error_page', '403 404 = @bytes_lost'],
    ],
  ];
}

function storeLocation(prefix: string, bytes: FrontStore): Directive {
  const { scheme, host } = originOf(bytes);
  return [
    'location',
    `^~ ${prefix}${scheme}/${host}/`,
    [
      ['internal', ''],
      // The answer that named this place is forgotten as soon as the store is asked.
      ...kept.map(([, variable]): Directive => ['set', `$blob_${variable} $upstream_http_${variable}`]),
      ...kept.map(([name, variable]): Directive => ['add_header', `${name} $blob_${variable} always`]),
      ...toStore(bytes),
      // Nothing of the client's reaches the store: neither his password nor a header that would change what was signed.
      ['proxy_pass_request_headers', 'off'],
      ['proxy_pass_request_body', 'off'],
      ['proxy_set_header', `Host ${host}`],
      ['proxy_set_header', 'Connection ""'],
      ['proxy_set_header', 'Range $slice_range'],
      // The client's own Range and If-Range are nginx' to answer. With a cache: waiting clients get each slice as it arrives.
      ['slice', bytes.cache === undefined ? '64m' : '8m'],
      ...storeTls(bytes),
      [
        'proxy_ignore_headers',
        'Cache-Control Expires Set-Cookie Vary X-Accel-Expires X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset',
      ],
      ...[
        'ETag',
        'Last-Modified',
        'Set-Cookie',
        'Cache-Control',
        'Expires',
        'Content-Disposition',
        'x-amz-request-id',
        'x-amz-id-2',
        'x-rgw-object-type',
      ].map((name): Directive => ['proxy_hide_header', name]),
      ['proxy_read_timeout', '60s'],
      ['proxy_buffers', '16 64k'],
      ['proxy_next_upstream', 'error timeout http_500 http_502 http_503 http_504'],
      ['proxy_next_upstream_tries', '2'],
      ...(bytes.cache === undefined ? ([['proxy_max_temp_file_size', '0']] as const) : caching),
      ['proxy_intercept_errors', 'on'],
      ['error_page', '301 302 307 400 401 403 404 416 500 502 503 504 = @bytes_lost'],
      ['log_subrequest', 'on'],
    ],
  ];
}

/** Data keys are written once and never again, so what is kept never is wrong; who may have it is asked of a replica each time. */
const caching: readonly Directive[] = [
  ['proxy_cache', 'brickyard_bytes'],
  ['proxy_cache_key', '$uri|$slice_range'],
  ['proxy_cache_valid', '206 365d'],
  // nginx' own 5 s would let everybody who waits longer fetch the same again.
  ['proxy_cache_lock', 'on'],
  ['proxy_cache_lock_timeout', '1h'],
  ['proxy_cache_lock_age', '1h'],
  ['add_header', 'X-Brickyard-Cache $upstream_cache_status always'],
];

/** The internal prefix is cut off; the rest and the query are what was signed. */
function toStore(bytes: FrontStore): Directive[] {
  const { scheme, hostPort } = originOf(bytes);
  if (bytes.resolver === undefined) return [['proxy_pass', `${scheme}://brickyard_store/`]];
  const servers = bytes.resolver.map((server) => (isIP(server) === 6 ? `[${server}]` : server));
  return [
    ['resolver', servers.join(' ')],
    // With a variable in the address nginx looks the name up while it runs. Which name is fixed here all the same.
    ['set', `$blob_store "${scheme}://${hostPort}"`],
    ['rewrite', '"^/_[^/]+/https?/[^/]+(/.*)$" $1 break'],
    ['proxy_pass', '$blob_store$uri$is_args$args'],
  ];
}

function storeTls(bytes: FrontStore): Directive[] {
  const { scheme, hostPort } = originOf(bytes);
  if (scheme === 'http') return [];
  return [
    ['proxy_ssl_verify', 'on'],
    ['proxy_ssl_verify_depth', '4'],
    ['proxy_ssl_trusted_certificate', bytes.ca ?? systemCertificates],
    ['proxy_ssl_server_name', 'on'],
    ['proxy_ssl_name', hostPort.replace(/:\d+$/, '')],
    ['proxy_ssl_protocols', 'TLSv1.2 TLSv1.3'],
  ];
}

function originOf(bytes: FrontStore): NonNullable<ReturnType<typeof parseOrigin>> {
  const origin = parseOrigin(bytes.store);
  if (origin === undefined) throw new TypeError(`not an origin: ${bytes.store}`);
  return origin;
}
