import { BlockList, isIP } from 'node:net';
import { UserError } from '../../core/user-error.ts';
import { type NginxValue, nginxValues, parseHostPort } from './grammar.ts';

/** An nginx in front of any number of registry replicas: every value of it was checked by `checkFront`. */
export interface FrontModel {
  /** Folder of pid file, logs and temporary files. */
  readonly folder: string;
  /** System user of the worker processes where nginx is started as root; default: nginx' own. */
  readonly user?: string;
  readonly listen: string;
  /** `_` = any. */
  readonly serverName: string;
  /** Undefined: plain HTTP. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Plain HTTP also where other machines reach it, because somebody else speaks TLS in front of this. */
  readonly allowPlain: boolean;
  /** `host:port` of each. */
  readonly replicas: readonly string[];
  /** `registry.accel.prefix` of the replicas. */
  readonly prefix: string;
  readonly bytes: FrontBytes;
}

/** Where blob bytes come from once a replica said who may have them. */
export type FrontBytes =
  /** Through the replica. */
  | { readonly kind: 'none' }
  /** From the filesystem store, whose folder of objects nginx' workers can read. */
  | { readonly kind: 'files'; readonly folder: string }
  | FrontStore;

/** From the S3 store, at presigned addresses. */
export interface FrontStore {
  readonly kind: 's3';
  /** The one store that is ever asked: scheme and host of the presigned addresses. */
  readonly store: string;
  /** Certificates that the store's own is checked with; default: the system's. */
  readonly ca?: string;
  /** Name servers that are asked for the store's host while nginx runs. Default: it is looked up when nginx starts, once. */
  readonly resolver?: readonly string[];
  /** Undefined: nothing is kept. */
  readonly cache?: {
    readonly folder: string;
    readonly maxSize: string;
    /** Left free on the disk. */
    readonly minFree: string;
    /** What nobody asked for so long goes. */
    readonly inactive: string;
  };
}

export interface FrontFault {
  /** E.g. `replicas[1]`. */
  readonly field: string;
  readonly message: string;
}

/** Everything that is wrong with it; nothing of it may be written when there is anything. */
export function frontFaults(model: FrontModel): FrontFault[] {
  const faults: FrontFault[] = [];
  const check = (field: string, value: string | undefined, kind: NginxValue): void => {
    if (value === undefined || kind.test(value)) return;
    faults.push({ field, message: `${JSON.stringify(value)} must be ${kind.wanted}` });
  };
  const { listen, tls, replicas, bytes } = model;
  check('folder', model.folder, nginxValues.path);
  check('user', model.user, nginxValues.user);
  check('listen', listen, nginxValues.listen);
  check('serverName', model.serverName, nginxValues.serverName);
  check('tls.certificate', tls?.certificate, nginxValues.path);
  check('tls.key', tls?.key, nginxValues.path);
  check('prefix', model.prefix, nginxValues.prefix);
  replicas.forEach((replica, index) => check(`replicas[${index}]`, replica, nginxValues.hostPort));
  if (replicas.length === 0) faults.push({ field: 'replicas', message: 'there must be one at least' });
  if (new Set(replicas).size < replicas.length) {
    faults.push({ field: 'replicas', message: 'one is named twice' });
  }
  if (tls === undefined && !model.allowPlain && !isLoopback(listen)) {
    const message = `${listen} can be reached by other machines: passwords and images would pass readable. Set tls.certificate and tls.key, or allowPlain where somebody else speaks TLS in front of this`;
    faults.push({ field: 'tls', message });
  }
  if (bytes.kind === 'files') check('bytes.folder', bytes.folder, nginxValues.path);
  if (bytes.kind === 's3') {
    check('store.url', bytes.store, nginxValues.origin);
    check('store.ca', bytes.ca, nginxValues.path);
    bytes.resolver?.forEach((server, index) =>
      check(`store.resolver[${index}]`, server, nginxValues.nameServer),
    );
    check('cache.folder', bytes.cache?.folder, nginxValues.path);
    check('cache.maxSize', bytes.cache?.maxSize, nginxValues.size);
    check('cache.minFree', bytes.cache?.minFree, nginxValues.size);
    check('cache.inactive', bytes.cache?.inactive, nginxValues.time);
  }
  return faults;
}

/** Errors: UserError that names every field in fault, as `front.<field>`. */
export function checkFront(model: FrontModel): FrontModel {
  const faults = frontFaults(model);
  if (faults.length === 0) return model;
  const lines = faults.map(({ field, message }) => `front.${field}: ${message}`);
  throw new UserError(lines.join('\n'), { exitCode: 2 });
}

function isLoopback(listen: string): boolean {
  const host = parseHostPort(listen)?.host ?? '';
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  const family = isIP(host);
  return family !== 0 && loopback.check(host, family === 6 ? 'ipv6' : 'ipv4');
}
