import { isRepositoryName } from '../../oci/reference.ts';
import type { Pool } from '../pools/pool.ts';
import { poolHeader } from '../pools/pool-header.ts';
import { parseOrigin } from './grammar.ts';
import { refusal } from './refusal.ts';
import type { Directive } from './render.ts';

/** distribution-spec "Pulling manifests", written for PCRE without a backslash. */
const component = '[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*';
const repositoryName = `(?<pool_repo>${component}(?:/${component})*)`;
const digest = '(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})';
/** Of no bytes at all: nothing can be a slice of it. */
const emptyDigest =
  '(?:sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' +
  '|sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e)';
const tag = '(?<pool_ref>[A-Za-z0-9_][A-Za-z0-9._-]{0,127})';

/** Certificates of Debian's ca-certificates. */
const systemCertificates = '/etc/ssl/certs/ca-certificates.crt';

/** What is forever. */
const always = '3650d';

/** Upstreams that a path can name: a repository's name has no colon. */
export function pathNames(pool: Pool): string[] {
  return pool.upstreams.map(({ ns }) => ns).filter((ns) => isRepositoryName(ns));
}

/** Of names that were checked, in a regular expression. */
export function escaped(name: string): string {
  return name.replaceAll(/[.[]/g, '[$&]');
}

/** Everything that a client can ask for. */
export function poolLocations(pool: Pool): Directive[] {
  const inPath = pathNames(pool);
  // Possessive: a path that names a registry is about that, or about nothing.
  const repository =
    inPath.length === 0 ? repositoryName : `(?:(?:${inPath.map(escaped).join('|')})/)?+${repositoryName}`;
  const name: Directive = ['add_header', `${poolHeader} ${pool.name} always`];
  const told: Directive[] = [name, ['add_header', 'X-Cache $upstream_cache_status always']];
  return [
    ['location', '= /v2/', [...toAgent('/v2/'), name]],
    ['location', '= /v2', [...toAgent('/v2/'), name]],
    ['location', '= /token', [...toAgent('/token$is_args$args'), ['client_max_body_size', '64k'], name]],
    at(`/v2/${repository}/blobs/(?<pool_digest>${emptyDigest})`, [
      ...blobWays,
      ...allowed,
      ...fetched('blob', '""'),
      ...told,
    ]),
    at(`/v2/${repository}/blobs/(?<pool_digest>${digest})`, [
      ...blobWays,
      ...allowedBy('/_authz_slices'),
      ...fetched('blob', '$slice_range'),
      ...inSlices(pool),
      ...fetchedOnce,
      ...told,
    ]),
    // The agent has said who may have it. See `createArrivingBlobs`.
    [
      'location',
      '= /_arriving',
      [
        ['internal', ''],
        // The way here was an error page, and by the same one it would lead here again.
        ...fetched('blob', '$slice_range', '@forbidden'),
        ['recursive_error_pages', 'on'],
        ...inSlices(pool),
        ...fetchedOnce,
        ['sendfile', 'off'],
        ['output_buffers', '4 128k'],
        ...told,
      ],
    ],
    at(`/v2/${repository}/manifests/(?<pool_digest>${digest})`, [
      ...manifestWays,
      ...allowed,
      ...fetched('manifest', '""'),
      ['proxy_cache', 'pool_manifests'],
      ['proxy_cache_key', '"m|$pool_prefix$pool_repo|$pool_digest"'],
      // No lock: who waits for one looks for its end every half second, and the agent asks once for all anyway.
      ['proxy_cache_valid', `200 ${always}`],
      ...told,
    ]),
    at(`/v2/${repository}/manifests/${tag}`, [
      ...manifestWays,
      ...allowed,
      ...fetched('manifest', '""'),
      ['proxy_cache', 'pool_manifests'],
      ['proxy_cache_key', '"t|$pool_prefix$pool_repo|$pool_ref|$pool_accept"'],
      // The agent says of each answer that it is old at once, so that the registry is asked for every pull.
      ['proxy_cache_revalidate', 'on'],
      [
        'proxy_cache_use_stale',
        `error timeout invalid_header http_500 http_502 http_503 http_504 http_429${pool.onOriginMissing === 'keep' ? ' http_404' : ''}`,
      ],
      ...told,
    ]),
    at(`/v2/${repository}/(?:blobs/uploads(?:/[A-Za-z0-9._~=+,@:-]*)?|tags/list|referrers/${digest})`, [
      ...unlessMirrored,
      ...passed,
      name,
    ]),
    ['location', '= /v2/_catalog', [...unlessMirrored, ...passed, name]],
    ['location', '@pass', [...passed, name]],
    ['location', '@held', [...held(pool), name]],
    ...(pool.shards.length === 0 ? [] : ([['location', '@shard', [...toShard(pool), name]]] as const)),
    ...answers(name),
    ['location', '/', [['return', refusal(404, 'NAME_UNKNOWN', 'a pool only serves /v2/')]]],
  ];
}

function at(pattern: string, directives: readonly Directive[]): Directive {
  return ['location', `~ "^${pattern}$"`, directives];
}

/** The registry's own business is passed on; what cannot be of other registries is refused. */
const blobWays: readonly Directive[] = [
  ['error_page', '418 = @pass'],
  ['error_page', '420 = @held'],
  ['error_page', '421 = @shard'],
  ['error_page', '405 = @refused'],
  ['if', '($pool_blob_way = pass)', [['return', '418']]],
  ['if', '($pool_blob_way = held)', [['return', '420']]],
  ['if', '($pool_blob_way = shard)', [['return', '421']]],
  ['if', '($pool_blob_way = refuse)', [['return', '405']]],
];

const manifestWays: readonly Directive[] = [
  ['error_page', '418 = @pass'],
  ['error_page', '405 = @refused'],
  ['if', '($pool_manifest_way = pass)', [['return', '418']]],
  ['if', '($pool_manifest_way = refuse)', [['return', '405']]],
];

const unlessMirrored: readonly Directive[] = [
  ['error_page', '405 = @refused'],
  ['if', '($pool_ns != "")', [['return', '405']]],
];

/** Asked for every request, also where the cache has the answer. */
const allowedBy = (path: '/_authz' | '/_authz_slices'): readonly Directive[] => [
  ['auth_request', path],
  ['auth_request_set', '$pool_verdict $upstream_http_x_pool_verdict'],
  ['auth_request_set', '$pool_challenge $upstream_http_x_pool_challenge'],
  ['auth_request_set', '$pool_retry $upstream_http_retry_after'],
  ['auth_request_set', '$pool_accept $upstream_http_x_pool_accept'],
  ['auth_request_set', '$pool_prewarm $upstream_http_x_pool_prewarm'],
];

const allowed = allowedBy('/_authz');

/** From nginx' reading of the path alone, never from what a client wrote in such headers. */
const named: readonly Directive[] = [
  ['proxy_set_header', 'Host pool'],
  ['proxy_set_header', 'Connection ""'],
  ['proxy_set_header', 'X-Request-Id $request_id'],
  ['proxy_set_header', 'X-Pool-Ns $pool_ns'],
  ['proxy_set_header', 'X-Pool-Repo $pool_repo'],
  ['proxy_set_header', 'X-Pool-Digest $pool_digest'],
  ['proxy_set_header', 'X-Pool-Ref $pool_ref'],
  ['proxy_set_header', 'X-Pool-Kind $pool_kind'],
  ['proxy_set_header', 'X-Pool-Range $http_range'],
  ['proxy_set_header', 'X-Pool-Prewarm $pool_prewarm'],
  ['proxy_set_header', 'X-Pool-Client $remote_addr'],
];

function fetched(what: 'blob' | 'manifest', range: string, denied = '@denied'): Directive[] {
  return [
    ['error_page', `403 = ${denied}`],
    ['error_page', '500 502 503 504 = @unavailable'],
    ['proxy_intercept_errors', 'on'],
    // With a variable nginx lets a location by pattern name another path.
    ['set', `$pool_to /${what}`],
    ['proxy_pass', 'http://pool_control$pool_to'],
    ...named,
    ['proxy_set_header', 'Authorization ""'],
    ['proxy_hide_header', 'X-Pool-Stale'],
    ['proxy_set_header', `Range ${range}`],
    ['proxy_connect_timeout', '2s'],
    ['proxy_read_timeout', '65s'],
    ['proxy_buffers', '16 64k'],
    ['proxy_buffer_size', '64k'],
  ];
}

function inSlices(pool: Pool): Directive[] {
  return [
    ['slice', String(pool.cache.slice)],
    ['max_ranges', '1'],
    ['proxy_cache', 'pool_blobs'],
    ['proxy_cache_key', '"b|$pool_digest|$slice_range"'],
    ['proxy_cache_valid', `206 ${always}`],
  ];
}

/** nginx' own 5 s would let everybody who waits longer fetch the same again. */
const fetchedOnce: readonly Directive[] = [
  ['proxy_cache_lock', 'on'],
  ['proxy_cache_lock_timeout', '1h'],
  ['proxy_cache_lock_age', '1h'],
];

const passed: readonly Directive[] = [
  ['error_page', '500 502 504 = @unavailable'],
  ['proxy_pass', 'http://pool_control/pass$request_uri'],
  ...named,
  // A push goes through as it comes, however large.
  ['proxy_request_buffering', 'off'],
  ['client_body_buffer_size', '256k'],
  ['proxy_buffering', 'off'],
  ['proxy_buffer_size', '64k'],
  ['proxy_buffers', '4 64k'],
  ['proxy_connect_timeout', '2s'],
  ['proxy_send_timeout', '15m'],
  ['proxy_read_timeout', '15m'],
];

function toAgent(path: string): Directive[] {
  return [
    ['error_page', '500 502 504 = @unavailable'],
    ['proxy_pass', `http://pool_agent${path}`],
    ['proxy_set_header', 'Host $http_host'],
    ['proxy_set_header', 'Connection ""'],
    ['proxy_set_header', 'X-Forwarded-For $remote_addr'],
    ['proxy_set_header', 'X-Forwarded-Proto $scheme'],
    ['proxy_set_header', 'X-Pool-Client $remote_addr'],
    ['proxy_connect_timeout', '2s'],
    ['proxy_read_timeout', '30s'],
  ];
}

/** From the cache or not at all: another pool asks, and fetching for it is not this one's business. It reads nothing but 206. */
function held(pool: Pool): Directive[] {
  return [
    ...allowed,
    ['error_page', '403 = @denied'],
    ['proxy_pass', 'http://pool_internal'],
    ['proxy_set_header', 'Range $slice_range'],
    ['proxy_set_header', 'Authorization ""'],
    ...inSlices(pool),
    ['add_header', 'X-Cache $upstream_cache_status always'],
  ];
}

/** The owner of the digest believes our word that the client may have it, or decides anew by the client's own Authorization. */
function toShard(pool: Pool): Directive[] {
  const secure = parseOrigin(pool.shards[0] ?? '')?.scheme === 'https';
  const tls: Directive[] = [
    ['proxy_ssl_verify', 'on'],
    ['proxy_ssl_verify_depth', '4'],
    ['proxy_ssl_trusted_certificate', pool.origin.ca ?? systemCertificates],
    ['proxy_ssl_server_name', 'on'],
    ['proxy_ssl_name', (parseOrigin(pool.endpoint)?.hostPort ?? '').replace(/:[0-9]+$/, '')],
  ];
  return [
    ...allowed,
    ['auth_request_set', '$pool_grant $upstream_http_x_pool_grant'],
    ['error_page', '403 = @denied'],
    ['error_page', '500 502 504 = @unavailable'],
    ['proxy_pass', `${secure ? 'https' : 'http'}://pool_shards$request_uri`],
    ['proxy_set_header', 'Host $http_host'],
    ['proxy_set_header', 'Connection ""'],
    ['proxy_set_header', 'X-Pool-Shard $pool_grant'],
    ...(secure ? tls : []),
    ['proxy_next_upstream', 'error timeout'],
    ['proxy_next_upstream_tries', '2'],
    ['proxy_connect_timeout', '2s'],
    ['proxy_read_timeout', '65s'],
    ['proxy_buffers', '16 64k'],
    ['proxy_max_temp_file_size', '0'],
  ];
}

/** `slices`: `1` where a client gets a blob in slices, which may be one that arrives. */
function asked(path: '/_authz' | '/_authz_slices', slices: '1' | '""'): Directive {
  return [
    'location',
    `= ${path}`,
    [
      ['internal', ''],
      ['proxy_pass', 'http://pool_control/authz'],
      ['proxy_method', 'GET'],
      ['proxy_pass_request_body', 'off'],
      ...named,
      ['proxy_set_header', `X-Pool-Slices ${slices}`],
      ['proxy_set_header', 'Content-Length ""'],
      ['proxy_connect_timeout', '2s'],
      ['proxy_read_timeout', '15s'],
    ],
  ];
}

function answers(name: Directive): Directive[] {
  const say = (status: number, code: string, message: string): Directive => [
    'return',
    refusal(status, code, message),
  ];
  const denied = say(403, 'DENIED', 'requested access to the resource is denied');
  const unavailable: Directive[] = [
    ['add_header', 'Retry-After $pool_retry_after always'],
    say(503, 'UNAVAILABLE', 'the pool does not have this, and cannot reach the registry'),
  ];
  const verdict = (status: number | 'arriving'): Directive => [
    'if',
    `($pool_verdict = ${status})`,
    [['rewrite', `^ /_${status} last`]],
  ];
  return [
    asked('/_authz', '""'),
    asked('/_authz_slices', '1'),
    ['location', '@denied', [verdict('arriving'), verdict(401), verdict(404), verdict(503), denied, name]],
    ['location', '@forbidden', [denied, name]],
    [
      'location',
      '= /_401',
      [
        ['internal', ''],
        ['add_header', 'WWW-Authenticate $pool_challenge always'],
        ['add_header', 'Docker-Distribution-Api-Version registry/2.0 always'],
        say(401, 'UNAUTHORIZED', 'authentication required'),
        name,
      ],
    ],
    [
      'location',
      '= /_404',
      [['internal', ''], say(404, 'NAME_UNKNOWN', 'not known to this repository'), name],
    ],
    ['location', '= /_503', [['internal', ''], ...unavailable, name]],
    ['location', '@unavailable', [...unavailable, name]],
    ['location', '@refused', [say(405, 'UNSUPPORTED', 'the pool is only a mirror of this registry'), name]],
  ];
}
