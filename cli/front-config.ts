import { nginxValues } from '../cache-proxy/nginx/grammar.ts';
import { Type } from '../core/type.ts';
import { eachFitsNginx, fitsNginx } from './config-checks.ts';

/** The nginx in front of the replicas, which `brickyard front render` writes the configuration of; the server itself reads none of it. */
export const frontSchema = Type.Object({
  listen: Type.String({
    default: '127.0.0.1:8080',
    description: 'nginx in front: address and port, e.g. `0.0.0.0:443`.',
    'x-check': fitsNginx(nginxValues.listen),
  }),
  serverName: Type.Optional(
    Type.String({
      description: 'nginx in front: the host name it answers to; default: that of `publicUrl`, else any.',
      'x-check': fitsNginx(nginxValues.serverName),
    }),
  ),
  tls: Type.Object({
    certificate: nginxPath('nginx in front: file of the certificate and its chain (PEM).'),
    key: nginxPath('nginx in front: file of the certificate’s key (PEM).'),
  }),
  allowPlain: Type.Boolean({
    default: false,
    description:
      'nginx in front: without TLS also where other machines reach it, because something before it speaks TLS.',
  }),
  replicas: Type.Array(Type.String(), {
    default: [],
    description: 'nginx in front: `host:port` of each replica; default: `listen`.',
    'x-check': eachFitsNginx(nginxValues.hostPort),
  }),
  bytes: Type.Enum(['auto', 'files', 's3', 'none'], {
    default: 'auto',
    description:
      'nginx in front: where it takes blobs from: `files` of the data folder, `s3`, `none` (they pass through the replicas), or `auto`: as `store.type` says.',
  }),
  folder: Type.String({
    default: './front',
    description: 'nginx in front: folder of its pid file, logs and temporary files.',
    'x-path': true,
    'x-check': fitsNginx(nginxValues.path, { relative: true }),
  }),
  user: Type.Optional(
    Type.String({
      description:
        'nginx in front: system user of its workers where it is started as root; must be able to read the data folder.',
      'x-check': fitsNginx(nginxValues.user),
    }),
  ),
  store: Type.Object({
    url: Type.Optional(
      Type.String({
        description:
          'nginx in front of S3: scheme and host of presigned addresses; default: as `store.s3` says.',
        'x-check': fitsNginx(nginxValues.origin),
      }),
    ),
    ca: nginxPath(
      'nginx in front of S3: certificates (PEM) that the store’s own is checked with; default: the system’s.',
    ),
    resolver: Type.Array(Type.String(), {
      default: [],
      description:
        'nginx in front of S3: name servers to ask for the store’s address while it runs; default: it is looked up once, at the start.',
      'x-check': eachFitsNginx(nginxValues.nameServer),
    }),
  }),
  cache: Type.Object({
    folder: nginxPath('nginx in front of S3: folder where it keeps blobs; default: it keeps none.'),
    maxSize: Type.String({
      default: '10g',
      description: 'nginx in front of S3: how much it keeps, e.g. `200g`; the least used goes first.',
      'x-check': fitsNginx(nginxValues.size),
    }),
    minFree: Type.String({
      default: '1g',
      description: 'nginx in front of S3: how much of the disk it leaves free.',
      'x-check': fitsNginx(nginxValues.size),
    }),
    inactive: Type.String({
      default: '30d',
      description: 'nginx in front of S3: what nobody asked for so long goes.',
      'x-check': fitsNginx(nginxValues.time),
    }),
  }),
});

/** A file that is named in nginx's configuration. */
function nginxPath(description: string) {
  return Type.Optional(
    Type.String({ description, 'x-path': true, 'x-check': fitsNginx(nginxValues.path, { relative: true }) }),
  );
}
