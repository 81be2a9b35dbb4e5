import { isMap, isScalar, isSeq, Pair, Scalar, type YAMLMap } from 'yaml';
import type { DocumentFault } from '../../../core/document/document.ts';
import { keyText } from '../../../core/document/document-place.ts';
import type { EditableDocument, EditedDocument } from '../../../core/document/parse-document.ts';
import { appFileCodes } from '../codes.ts';
import { isMap as isPlainMap } from '../legacy.ts';
import { appFileSchema } from '../schema.ts';
import type { EruFormat } from './detect-format.ts';
import { expandAliases } from './expand-aliases.ts';
import { commentsOf, keepComments } from './keep-comments.ts';
import { mapEntrypoint, renameInto, textValues, unknownKeys } from './map-entrypoint.ts';
import { mapStages } from './map-stages.ts';
import { mapVolumes } from './map-volumes.ts';
import { createMapping, type Mapping } from './mapping.ts';
import { asText, type Entry, entriesOf, entryOf, scalar, take, valueOf } from './tree.ts';

export interface MappedDocument extends EditedDocument {
  /** Of the mapping only: errors are what v1 cannot say. Those of v1's own rules are found in `document` afterwards. */
  readonly faults: readonly DocumentFault[];
}

const maxEntries = 500;
/** v1 has no more, and says so. */
const maxRoles = appFileSchema.properties.entrypoints.maxProperties;

const kept = [
  'combos',
  'permitted_users',
  'erection_timeout',
  'freeze_node',
  'smooth_upgrade',
  'crontab',
  'volumes_request',
  'container_user',
  'name',
];

/**
 * A file of Eru as v1: every key is given its place, kept under `deploy`, or refused; none goes silently. The document must
 * have been read without errors.
 */
export function mapEruDocument(
  editable: EditableDocument,
  format: EruFormat,
  options: { defaultAppName?: string } = {},
): MappedDocument | undefined {
  const { document } = editable;
  const written = isPlainMap(document.value) ? document.value['appname'] : undefined;
  const appname = typeof written === 'string' ? written : (options.defaultAppName ?? '<appname>');
  const faults: DocumentFault[] = [];
  if (isLarge(document.value)) {
    const message = `a map or list of a file of Eru has at most ${maxEntries} entries`;
    const edited = editable.change(() => {});
    return edited && { ...edited, faults: [document.fault([], { code: appFileCodes.unsupported, message })] };
  }
  const edited = editable.change((tree) => {
    expandAliases(tree);
    const comments = commentsOf(tree);
    const top = tree.contents as YAMLMap;
    const repositories = [appname, options.defaultAppName ?? appname];
    mapTop(createMapping({ document, format, appname, repositories, top, faults }));
    const version = new Pair(new Scalar('apiVersion'), new Scalar('v1'));
    version.key.range = [0, 1, 1];
    top.items.unshift(version as unknown as Entry);
    const deploy = take(top, 'deploy');
    if (deploy !== undefined) top.items.push(deploy);
    keepComments(tree, comments);
  });
  if (edited === undefined) return undefined;
  const message = `a file of Eru (${format}), read as v1`;
  const said = {
    code: appFileCodes.mapped,
    message,
    hint: '"brickyard migrate" rewrites it',
    severity: 'info',
  } as const;
  return { ...edited, faults: [document.fault([], said), ...faults] };
}

/** The mapping looks keys up one by one: without a limit a hostile file could make it busy for minutes. */
function isLarge(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const values: unknown[] = Object.values(value);
  return values.length > maxEntries || values.some(isLarge);
}

function mapTop(mapping: Mapping): void {
  const { top } = mapping;
  const moved = (key: string, map: (entry: Entry) => void): void => {
    const entry = take(top, key);
    if (entry !== undefined) map(entry);
  };
  const known = Object.keys(appFileSchema.properties);
  mapStages(mapping);
  mapMeta(mapping);
  for (const key of ['labels', 'envs']) textValues(entryOf(top, key)?.value);
  const hosts = entryOf(top, 'hosts');
  if (hosts !== undefined) renameInto(mapping, top, hosts, 'extra_hosts', []);
  mapNotify(mapping);
  mapVolumes(mapping);
  const build = entryOf(top, 'build');
  if (build !== undefined && isSeq(build.value) && build.value.items.length === 0) {
    take(top, 'build');
    mapping.note(['build'], 'left out: nothing is built');
  }
  if (mapping.format === 'E2' && build !== undefined) joinCommands(mapping, build);
  const entrypoints = entryOf(top, 'entrypoints')?.value;
  if (isMap(entrypoints)) {
    for (const role of entriesOf(entrypoints).slice(0, maxRoles)) {
      if (isMap(role.value)) mapEntrypoint(mapping, keyText(role.key) ?? '', role.value);
    }
  }
  moved('permdir', (entry) => mapping.keep(['permdir'], entry));
  moved('version', (entry) => {
    entry.value = asText(entry.value);
    mapping.warn(['version'], 'images are tagged by branch and commit, not by this');
    mapping.keep(['version'], entry);
  });
  for (const key of ['port', 'commands']) {
    moved(key, () =>
      mapping.refuse(
        [key],
        `"${key}" at the top is of the first weeks of Eru`,
        'write entrypoints: { web: { cmd: … } }',
      ),
    );
  }
  for (const key of kept) moved(key, (entry) => mapping.keep([key], entry));
  for (const key of unknownKeys(top, known)) {
    if (key.startsWith('x-')) continue;
    if (!key.startsWith('falcon-')) {
      mapping.warnUnknown([key], key, known);
    }
    moved(key, (entry) => mapping.keep([key], entry));
  }
}

/** Core of 2017 ran all commands in one shell, joined by `&&`: a `cd` or `export` counted for the ones after it. */
function joinCommands(mapping: Mapping, build: Entry): void {
  if (!isSeq(build.value)) return;
  const commands = build.value.items.map((item) => (isScalar(item) ? item.value : undefined));
  const lasting = commands
    .slice(0, -1)
    .some((command) => /(?:^|&&|;)\s*(?:cd|export|source|\.)\s/.test(String(command)));
  if (!lasting || !commands.every((command) => typeof command === 'string')) return;
  build.value = scalar(commands.join(' && '), build.value);
  mapping.note(['build'], 'joined into one command: what cd and export do counts for the next ones');
}

function mapMeta(mapping: Mapping): void {
  const { top } = mapping;
  const meta = entryOf(top, 'meta');
  if (meta === undefined) return;
  const structured = isMap(meta.value) ? entriesOf(meta.value).filter((entry) => !isScalar(entry.value)) : [];
  for (const entry of structured) {
    const key = keyText(entry.key) ?? '';
    take(meta.value as YAMLMap, key);
    mapping.keep(['meta', key], entry, ['meta']);
  }
  const labels = entryOf(top, 'labels')?.value;
  if (!isMap(labels) || !isMap(meta.value)) {
    renameInto(mapping, top, meta, 'labels', []);
    return;
  }
  take(top, 'meta');
  for (const entry of entriesOf(meta.value)) {
    const key = keyText(entry.key) ?? '';
    if (entryOf(labels, key) === undefined) labels.items.push(entry);
    else mapping.refuse(['meta', key], `labels.${key} is there too`, 'leave one of them out');
  }
}

/** Whom Citadel told about an application: one text, sometimes a list of them. */
function mapNotify(mapping: Mapping): void {
  const entry = entryOf(mapping.top, 'subscribers');
  if (entry === undefined) return;
  if (isSeq(entry.value) && entry.value.items.every((item) => isScalar(item))) {
    entry.value = scalar(
      entry.value.items.map((item) => String((item as Scalar).value)).join(', '),
      entry.value,
    );
  }
  if (valueOf(entry) === '' || valueOf(entry) === null) {
    take(mapping.top, 'subscribers');
    mapping.note(['subscribers'], 'left out: it is empty');
  } else renameInto(mapping, mapping.top, entry, 'notify', []);
}
