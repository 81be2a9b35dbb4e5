import { isMap, isScalar, isSeq, Pair, type YAMLMap, YAMLSeq } from 'yaml';
import { keyText } from '../../../core/document/document-place.ts';
import { textValues } from './map-entrypoint.ts';
import type { Mapping } from './mapping.ts';
import {
  type Entry,
  entriesOf,
  entryOf,
  keyAt,
  mapUnder,
  put,
  rename,
  scalar,
  take,
  valueOf,
} from './tree.ts';

interface Stage {
  readonly name: string;
  readonly map: YAMLMap;
  readonly entry: Entry;
  /** Of the stage in the file. */
  readonly path: readonly string[];
}

/** E2b `complex_build` and E3 `stages` with `builds`: the last stage is the image, the one before it what is built for it. */
export function mapStages(mapping: Mapping): void {
  const { top } = mapping;
  const complex = take(top, 'complex_build');
  if (complex !== undefined) {
    if (isMap(complex.value)) {
      mapTwo(mapping, complex.value, ['complex_build'], 'artifacts');
      const left = entriesOf(complex.value).slice();
      for (const entry of left) {
        mapping.keep(['complex_build', keyText(entry.key) ?? ''], entry, ['complex_build']);
      }
    } else mapping.refuse(['complex_build'], 'must be a map', 'write stages and builds under it');
  }
  if (entryOf(top, 'stages') !== undefined || entryOf(top, 'builds') !== undefined) {
    mapTwo(mapping, top, [], 'cache');
  }
}

function mapTwo(mapping: Mapping, map: YAMLMap, path: readonly string[], carried: string): void {
  const { top } = mapping;
  const stages = readStages(mapping, map, path);
  if (stages === undefined) return;
  if (entryOf(top, 'build') !== undefined) {
    mapping.refuse(['build'], '"build" stands beside stages', 'leave one of them out');
    return;
  }
  const last = stages.at(-1);
  const first = stages.length > 1 ? stages[0] : undefined;
  if (last === undefined) return;
  const fallback = entryOf(top, 'base');
  for (const stage of stages) checkSource(mapping, stage, carried);
  // A base of the top counts for the stages without one.
  for (const stage of stages) {
    if (entryOf(stage.map, 'base') !== undefined) continue;
    if (fallback === undefined) {
      mapping.refuse(
        stage.path,
        'the stage has no base',
        'write base: nodejs:26, or another one of "brickyard base ls"',
      );
    } else
      put(
        stage.map,
        new Pair(keyAt('base', fallback), scalar(String(valueOf(fallback)), undefined)) as Entry,
      );
  }
  const base = take(last.map, 'base');
  if (base !== undefined) {
    take(top, 'base');
    top.items.splice(appnameIndex(top), 0, base);
  }
  if (first === undefined) mapOnly(mapping, last, base, carried);
  else mapBuild(mapping, first, last, carried);
  for (const key of ['envs', 'labels']) {
    const entry = take(last.map, key);
    if (entry !== undefined) mergeInto(mapping, entry, [...last.path, key]);
  }
  const signal = take(last.map, 'stop_signal');
  if (signal !== undefined && !put(top, signal)) {
    mapping.refuse([...last.path, 'stop_signal'], 'stop_signal is there too', 'leave one of them out');
  }
  for (const stage of stages) {
    const left = entriesOf(stage.map).slice();
    for (const entry of left) {
      take(stage.map, keyText(entry.key) ?? '');
      mapping.keep([...stage.path, keyText(entry.key) ?? ''], entry, ['stages', stage.name]);
    }
  }
}

function appnameIndex(top: YAMLMap): number {
  return entriesOf(top).findIndex((entry) => keyText(entry.key) === 'appname') + 1;
}

function readStages(mapping: Mapping, map: YAMLMap, path: readonly string[]): Stage[] | undefined {
  const list = take(map, 'stages');
  const builds = take(map, 'builds');
  if (!isMap(builds?.value)) {
    const hint = 'write builds: with a map for each stage';
    mapping.refuse([...path, builds === undefined ? 'stages' : 'builds'], 'the stages have no builds', hint);
    return undefined;
  }
  if (!isSeq(list?.value) || list.value.items.length === 0) {
    const hint = `write stages: [${entriesOf(builds.value)
      .map((entry) => keyText(entry.key))
      .join(', ')
      .slice(0, 80)}]`;
    mapping.refuse(
      [...path, list === undefined ? 'builds' : 'stages'],
      'the order of the builds is missing',
      hint,
    );
    return undefined;
  }
  const stages: Stage[] = [];
  let complete = true;
  for (const [index, item] of list.value.items.entries()) {
    const name = isScalar(item) ? String(item.value) : '';
    const entry = take(builds.value, name);
    if (index === 2) {
      const hint = 'join the stages before the last one into one, or build in two repositories';
      mapping.refuse([...path, 'stages', index], 'more than two stages cannot be built', hint);
      complete = false;
    }
    if (entry === undefined || !isMap(entry.value)) {
      if (index < 2) {
        const known = entriesOf(builds.value).map((other) => keyText(other.key));
        const hint =
          known.length === 0 ? 'write it under builds' : `there are also: ${known.join(', ').slice(0, 80)}`;
        mapping.refuse([...path, 'stages', index], `there is no build "${name.slice(0, 64)}"`, hint);
      }
      complete = false;
    } else stages.push({ name, map: entry.value, entry, path: [...path, 'builds', name] });
  }
  for (const entry of complete ? [...entriesOf(builds.value)] : []) {
    const name = keyText(entry.key) ?? '';
    mapping.warn([...path, 'builds', name], 'is not among the stages and is not built');
    take(builds.value, name);
    mapping.keep([...path, 'builds', name], entry, ['stages']);
  }
  return complete ? stages : undefined;
}

/** What a stage takes from elsewhere: only the repository itself can be built. */
function checkSource(mapping: Mapping, stage: Stage, carried: string): void {
  const at = (key: string): string[] => [...stage.path, key];
  const repo = take(stage.map, 'repo') ?? take(stage.map, 'source');
  if (repo !== undefined) {
    const key = keyText(repo.key) ?? 'repo';
    const written = valueOf(repo);
    const url = typeof written === 'string' ? written.slice(-256) : '';
    const name = /([^/:]+?)(?:\.git)?\/*$/.exec(url)?.[1] ?? '';
    if (mapping.repositories.includes(name))
      mapping.note(at(key), 'the repository that this file lies in is built');
    else {
      const hint = 'put this file into that repository: a push there builds it';
      mapping.refuse(at(key), 'the source of another repository cannot be built', hint);
    }
  }
  const version = take(stage.map, 'version');
  if (version !== undefined && valueOf(version) !== 'HEAD') {
    mapping.warn(at('version'), 'the commit that is pushed is built, not this one');
    mapping.keep(at('version'), version, ['stages', stage.name]);
  }
  const security = take(stage.map, 'security');
  if (security !== undefined) mapping.note(at('security'), 'left out: .git never enters an image');
  const submodule = take(stage.map, 'submodule');
  if (submodule !== undefined && valueOf(submodule) === true) {
    mapping.refuse(
      at('submodule'),
      'submodules are not fetched',
      'commit the files, or fetch them in commands',
    );
  }
  if (carried === 'artifacts') return;
  if (take(stage.map, 'artifacts') !== undefined) {
    const hint = 'commit the files, or fetch them in commands';
    mapping.refuse(at('artifacts'), 'artifacts of another place are not fetched', hint);
  }
}

/** A single stage is an application that builds in its own base. */
function mapOnly(mapping: Mapping, stage: Stage, base: Entry | undefined, carried: string): void {
  const commands = take(stage.map, 'commands');
  const args = take(stage.map, 'args');
  if (args !== undefined) refuseArgs(mapping, [...stage.path, 'args']);
  const cache = take(stage.map, carried);
  if (cache !== undefined) {
    mapping.warn([...stage.path, carried], 'there is no next stage that this could be copied to');
    mapping.keep([...stage.path, carried], cache, ['stages', stage.name]);
  }
  if (commands === undefined || isEmpty(commands)) return;
  warnOfDirectory(mapping, stage, commands);
  const build = mapUnder(mapping.top, 'build', stage.entry);
  if (build === undefined) return;
  if (base !== undefined) {
    build.items.push(new Pair(keyAt('base', base), scalar(String(valueOf(base)), undefined)));
  }
  build.items.push(commands);
  // ENV came before RUN: the commands had what the image has.
  const envs = entryOf(stage.map, 'envs');
  if (isMap(envs?.value)) {
    build.items.push(textEntry(new Pair(keyAt('envs', envs), envs.value.clone()) as Entry));
  }
}

function mapBuild(mapping: Mapping, first: Stage, last: Stage, carried: string): void {
  const { top } = mapping;
  const commands = take(first.map, 'commands');
  const cache = take(first.map, carried);
  if (take(first.map, 'args') !== undefined) refuseArgs(mapping, [...first.path, 'args']);
  const envs = take(first.map, 'envs');
  const lastCommands = take(last.map, 'commands');
  if (lastCommands !== undefined && !isEmpty(lastCommands)) {
    const hint = `move them to the stage "${first.name}", or into a base image`;
    mapping.refuse([...last.path, 'commands'], 'commands of the last stage cannot be run', hint);
  }
  if (!isMap(cache?.value) || cache.value.items.length === 0) {
    const hint = `write ${carried}: { path: /home/${mapping.appname}/path }`;
    mapping.refuse(first.path, `the stage brings nothing to the last one: it has no ${carried}`, hint);
    return;
  }
  const build = mapUnder(top, 'build', first.entry);
  if (build === undefined) return;
  const base = take(first.map, 'base');
  if (base !== undefined) build.items.push(base);
  if (commands === undefined || isEmpty(commands)) {
    const list = new YAMLSeq();
    list.items.push(scalar('true', first.entry.key));
    build.items.push(new Pair(keyAt('commands', first.entry), list));
  } else {
    warnOfDirectory(mapping, first, commands);
    build.items.push(commands);
  }
  const dir = valueOf(entryOf(first.map, 'dir') ?? entryOf(first.map, 'working_dir'));
  for (const output of entriesOf(cache.value)) {
    const source = keyText(output.key) ?? '';
    const inside = workspacePath(mapping, source, typeof dir === 'string' ? dir : undefined);
    if (inside !== undefined) rename(output, inside);
    else {
      const where = typeof dir === 'string' ? dir : `/home/${mapping.appname}`;
      const hint = `copy it to ${where} in the commands`;
      mapping.refuse([...first.path, carried, source], 'lies outside of the directory of the build', hint);
    }
  }
  for (const output of entriesOf(cache.value)) mapOutside(mapping, output, [...first.path, carried]);
  build.items.push(rename(cache, 'outputs'));
  if (envs !== undefined) build.items.push(textEntry(envs));
}

/** COPY --from could lay files anywhere: v1 can where the image is not rebased afterwards. */
function mapOutside(mapping: Mapping, output: Entry, path: readonly string[]): void {
  const { top } = mapping;
  const target = valueOf(output);
  const home = `/home/${mapping.appname}`;
  if (typeof target !== 'string' || !target.startsWith('/')) return;
  if (target === home || target.startsWith(`${home}/`)) return;
  const place = [...path, keyText(output.key) ?? ''];
  if (/^\/(?:bin|sbin|lib|lib64)\//.test(target)) {
    output.value = scalar(`/usr${target}`, output.value);
    mapping.note(place, `is laid to /usr${target}, which is the same place`);
  }
  if (entryOf(top, 'rebase') !== undefined) return;
  top.items.push(new Pair(keyAt('rebase', output), scalar('never', undefined)) as Entry);
  mapping.note(place, 'lies outside of the application’s directory: the image is rebuilt, never rebased');
}

function textEntry(entry: Entry): Entry {
  textValues(entry.value);
  return entry;
}

function refuseArgs(mapping: Mapping, path: readonly string[]): void {
  mapping.refuse(path, 'build arguments cannot be given', 'write the values into the commands');
}

function isEmpty(commands: Entry): boolean {
  return isSeq(commands.value) ? commands.value.items.length === 0 : valueOf(commands) === null;
}

/** A path that COPY --from took, as one of the workspace; without a directory of the stage, where that lay is not known. */
function workspacePath(mapping: Mapping, source: string, dir: string | undefined): string | undefined {
  if (dir === undefined && !source.startsWith('/')) return source.replace(/^(?:\.\/+)+/, '');
  const home = (dir ?? `/home/${mapping.appname}`).replace(/\/+$/, '');
  const path = `${source.startsWith('/') ? '' : '/'}${source}`.replace(/\/+$/, '');
  if (path === home) return '**';
  return path.startsWith(`${home}/`) ? path.slice(home.length + 1) : undefined;
}

/** Commands run in /home/<appname>: one that names the old directory would look at nothing. */
function warnOfDirectory(mapping: Mapping, stage: Stage, commands: Entry): void {
  const dir = valueOf(entryOf(stage.map, 'dir') ?? entryOf(stage.map, 'working_dir'));
  const home = `/home/${mapping.appname}`;
  if (typeof dir !== 'string' || dir === home || !isSeq(commands.value)) return;
  for (const [index, item] of commands.value.items.entries()) {
    if (!isScalar(item) || !String(item.value).includes(dir)) continue;
    mapping.warn([...stage.path, 'commands', index], `the source lies in ${home} now, not in ${dir}`);
  }
}

/** Maps of the last stage are those of the image; what the top says wins no more than before. */
function mergeInto(mapping: Mapping, entry: Entry, path: readonly string[]): void {
  const { top } = mapping;
  const key = keyText(entry.key) ?? '';
  textValues(entry.value);
  const present = entryOf(top, key);
  if (present === undefined) {
    put(top, entry);
    return;
  }
  if (!isMap(present.value) || !isMap(entry.value)) {
    mapping.refuse(path, `${key} is there too`, 'leave one of them out');
    return;
  }
  for (const item of entriesOf(entry.value)) {
    const name = keyText(item.key) ?? '';
    if (!put(present.value, item))
      mapping.refuse([...path, name], `${key}.${name} is there too`, 'leave one of them out');
  }
}
