import { isMap, isSeq, Pair, type YAMLMap, YAMLSeq } from 'yaml';
import type { Mapping } from './mapping.ts';
import {
  asNumber,
  type Entry,
  entryOf,
  keyAt,
  mapUnder,
  put,
  rename,
  scalar,
  take,
  valueOf,
} from './tree.ts';

/** `health_check` of E1, `healthcheck_*` of E2 and Citadel's spelling of E3 → `healthcheck`. */
export function mapHealthcheck(mapping: Mapping, name: string, role: YAMLMap): void {
  const path = ['entrypoints', name];
  const place = ['roles', name];
  const written = entryOf(role, 'healthcheck')?.value;
  if (isMap(written)) mapE3(mapping, written, path);
  const url = take(role, 'health_check') ?? take(role, 'healthcheck_url');
  const port = take(role, 'healthcheck_port');
  const code = take(role, 'healthcheck_expected_code');
  const empty = (entry: Entry | undefined): boolean =>
    entry !== undefined && ['', null, 0].some((value) => value === valueOf(entry));
  const add = (entry: Entry, key: string): void => {
    const old = String((entry.key as { value?: unknown }).value);
    const healthcheck = mapUnder(role, 'healthcheck', entry);
    if (healthcheck === undefined || !put(healthcheck, rename(entry, key))) {
      mapping.refuse([...path, old], `healthcheck.${key} is there too`, 'leave one of them out');
    }
  };
  if (url !== undefined && !empty(url)) {
    const old = String((url.key as { value?: unknown }).value);
    const ports = portsOf(role);
    if (port === undefined && ports.length === 0) {
      mapping.keep([...path, old], url, place);
      mapping.warn([...path, old], 'not checked: the role has no port', 'give it ports, or healthcheck_port');
      if (code !== undefined) mapping.keep([...path, 'healthcheck_expected_code'], code, place);
      return;
    }
    if (port === undefined && ports.length > 1) {
      const [first] = ports;
      mapping.warn([...path, old], `checked at ${first}, the first port of the role`);
      const made = new Pair(keyAt('http_port', url), scalar(Number(first), undefined)) as Entry;
      if (made.value !== null && url.key.range != null) made.value.range = url.key.range;
      mapUnder(role, 'healthcheck', url)?.items.push(made);
    }
    add(url, 'url');
    if (port !== undefined) {
      port.value = asNumber(port.value);
      add(port, 'http_port');
    }
    if (code === undefined || empty(code)) {
      if (old !== 'health_check')
        mapping.warn(
          [...path, old],
          'Eru took any status from 200 to 499 for healthy; now it is 200',
          'write code',
        );
    } else {
      code.value = asNumber(code.value);
      add(code, 'code');
    }
    return;
  }
  for (const [entry, key] of [
    [url, 'healthcheck_url'],
    [code, 'healthcheck_expected_code'],
  ] as const) {
    if (entry === undefined) continue;
    if (empty(entry)) mapping.note([...path, key], 'left out: it is empty');
    else mapping.keep([...path, key], entry, place);
  }
  if (port === undefined) return;
  if (empty(port)) {
    mapping.note([...path, 'healthcheck_port'], 'left out: it is empty');
    return;
  }
  const list = new YAMLSeq();
  if (port.value?.range != null) list.range = port.value.range;
  list.items.push(asNumber(port.value));
  port.value = list;
  add(port, 'tcp_ports');
}

function mapE3(mapping: Mapping, healthcheck: YAMLMap, path: readonly string[]): void {
  for (const [old, key] of [
    ['http_url', 'url'],
    ['http_code', 'code'],
  ] as const) {
    const entry = entryOf(healthcheck, old);
    if (entry === undefined) continue;
    if (entryOf(healthcheck, key) === undefined) rename(entry, key);
    else {
      take(healthcheck, old);
      mapping.refuse(
        [...path, 'healthcheck', old],
        `"${old}" and "${key}" mean the same`,
        'leave one of them out',
      );
    }
  }
  for (const key of ['http_port', 'code']) {
    const entry = entryOf(healthcheck, key);
    if (entry !== undefined) entry.value = asNumber(entry.value);
  }
  const ports = entryOf(healthcheck, 'tcp_ports')?.value;
  if (isSeq(ports)) ports.items = ports.items.map((item) => asNumber(item as Entry['value']));
}

/** The port numbers of a role, in their order. */
function portsOf(role: YAMLMap): string[] {
  const ports = entryOf(role, 'ports')?.value;
  if (!isSeq(ports)) return [];
  return ports.items
    .map((item) => /^([0-9]+)/.exec(String((item as { value?: unknown }).value))?.[1])
    .filter((port) => port !== undefined);
}
