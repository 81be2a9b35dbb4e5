import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { imageConfig } from '../../../../builder/engines/assembler/image-documents.ts';
import type { ConfigChange } from '../../../../builder/plan/image-content.ts';
import { mergeConfig } from '../../../../builder/rebase/merge-config.ts';
import { digestOf } from '../../../../oci/digest.ts';
import type { ContainerConfig, ImageConfig } from '../../../../oci/image-config.ts';
import { encodeImageConfig, parseImageConfig } from '../../../../oci/image-config.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';

const layer = { mediaType: mediaTypes.ociLayerGzip, digest: digestOf('l'), diffId: digestOf('d'), size: 1 };

function image(config: ContainerConfig): ImageConfig {
  return { architecture: 'amd64', os: 'linux', config, diffIds: [] };
}

/** As it comes back from a registry. */
function stored(config: ImageConfig): ImageConfig {
  return parseImageConfig(encodeImageConfig(config));
}

/** Where only one of two bases sets a variable that the app changes, it stands elsewhere in the list. */
function inOrder(config: ContainerConfig): ContainerConfig {
  return { ...config, ...(config.Env === undefined ? {} : { Env: config.Env.toSorted() }) };
}

const name = fc.stringMatching(/^[A-Z]{1,3}$/);
const text = fc.stringMatching(/^[a-z=/ ]{0,5}$/);
const map = fc.dictionary(name, text, { maxKeys: 5 });
const list = fc.option(fc.array(text, { minLength: 1, maxLength: 3 }), { nil: undefined });
const environment = map.map((variables) =>
  Object.entries(variables).map(([key, value]) => `${key}=${value}`),
);

const baseConfig: fc.Arbitrary<ContainerConfig> = fc.record(
  {
    User: fc.constantFrom('0', '10001:10001'),
    Env: environment,
    Entrypoint: fc.array(text, { minLength: 1, maxLength: 2 }),
    Cmd: fc.array(text, { minLength: 1, maxLength: 2 }),
    WorkingDir: fc.constantFrom('/', '/home/app'),
    Labels: map,
    ExposedPorts: map.map((ports) => Object.fromEntries(Object.keys(ports).map((port) => [port, {}]))),
    StopSignal: fc.constantFrom('SIGTERM', 'SIGINT'),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<ContainerConfig>;

/** Names of its own, as a value that happens to be the base's counts as not changed. */
const change: fc.Arbitrary<ConfigChange> = fc.record({
  user: fc.constantFrom('10001:10001', '0:0'),
  workingDirectory: fc.constantFrom('/home/app', '/'),
  environment: fc.dictionary(
    name,
    text.map((value) => `own ${value}`),
    { maxKeys: 4 },
  ),
  entrypoint: fc.array(text, { minLength: 1, maxLength: 2 }),
  command: list,
  labels: fc
    .dictionary(
      name,
      text.map((value) => `own ${value}`),
      { maxKeys: 3 },
    )
    .map((labels) => ({ ...labels, 'org.brickyard.appname': 'app' })),
  exposedPorts: fc.array(fc.constantFrom('8080/tcp', '9090/tcp'), { maxLength: 2 }),
  volumes: fc.array(fc.constantFrom('/a', '/b'), { maxLength: 2 }),
  stopSignal: fc.option(fc.constantFrom('SIGQUIT', 'SIGHUP'), { nil: undefined }),
});

describe('mergeConfig', () => {
  it('gives what a build on the new base would give, for every image that was built here', () => {
    fc.assert(
      fc.property(baseConfig, baseConfig, change, (before, after, config) => {
        const content = { files: [], copies: [], directories: [], config };
        const built = (base: ContainerConfig) =>
          stored(imageConfig(stored(image(base)), content, [{ part: 'app', layer }]));

        const merged = mergeConfig(
          stored(image(before)).config,
          built(before).config,
          stored(image(after)).config,
        );

        expect(inOrder(merged)).toEqual(inOrder(built(after).config));
      }),
      { numRuns: 300 },
    );
  });

  it('changes nothing when the base’s config stays the same', () => {
    fc.assert(
      fc.property(baseConfig, baseConfig, (base, app) => {
        const [oldBase, own] = [stored(image(base)).config, stored(image(app)).config];

        const merged = mergeConfig(oldBase, own, oldBase);

        expect(inOrder(merged)).toEqual(inOrder(own));
      }),
      { numRuns: 300 },
    );
  });

  it.each<[string, ContainerConfig, ContainerConfig, ContainerConfig, ContainerConfig]>([
    [
      'what the app did not change follows the base',
      { User: 'a', WorkingDir: '/x', Cmd: ['x'] },
      { User: 'a', WorkingDir: '/x', Cmd: ['x'] },
      { User: 'b', WorkingDir: '/y', Cmd: ['y'] },
      { User: 'b', WorkingDir: '/y', Cmd: ['y'] },
    ],
    [
      'what the app changed stays',
      { User: 'a', StopSignal: 'A' },
      { User: 'c', StopSignal: 'C' },
      { User: 'b', StopSignal: 'B' },
      { User: 'c', StopSignal: 'C' },
    ],
    [
      'arguments stay with the app’s own entrypoint',
      { Cmd: ['x'] },
      { Entrypoint: ['/run'], Cmd: ['x'] },
      { Cmd: ['y'] },
      { Entrypoint: ['/run'], Cmd: ['x'] },
    ],
    [
      'no arguments of the new base for the app’s own entrypoint',
      {},
      { Entrypoint: ['/run'] },
      { Cmd: ['y'] },
      { Entrypoint: ['/run'] },
    ],
    [
      'variables that the app removed stay away',
      { Env: ['A=1', 'B=2'] },
      { Env: ['A=1'] },
      { Env: ['A=3', 'B=4', 'C=5'] },
      { Env: ['A=3', 'C=5'] },
    ],
    [
      'variables that the new base dropped go',
      { Env: ['A=1', 'B=2'] },
      { Env: ['A=1', 'B=9'] },
      {},
      { Env: ['B=9'] },
    ],
    [
      'a value may hold "=" and be empty',
      { Env: ['A='] },
      { Env: ['A=', 'B=x=y'] },
      { Env: ['A=z='] },
      { Env: ['A=z=', 'B=x=y'] },
    ],
    [
      'labels, ports and volumes go one by one',
      { Labels: { a: '1', b: '1' }, ExposedPorts: { '1/tcp': {} } },
      { Labels: { a: '1', c: '1' }, ExposedPorts: { '2/tcp': {} }, Volumes: { '/v': {} } },
      { Labels: { a: '2', b: '2', d: '2' }, ExposedPorts: { '1/tcp': {}, '3/tcp': {} } },
      {
        Labels: { a: '2', c: '1', d: '2' },
        ExposedPorts: { '2/tcp': {}, '3/tcp': {} },
        Volumes: { '/v': {} },
      },
    ],
    [
      'the user of an app that was built here is its own, whatever the bases say',
      { User: '10001:10001' },
      { User: '10001:10001', Labels: { 'org.brickyard.appname': 'a' } },
      { User: '0' },
      { User: '10001:10001', Labels: { 'org.brickyard.appname': 'a' } },
    ],
  ])('%s', (_, before, app, after, expected) => {
    expect(mergeConfig(before, app, after)).toEqual(expected);
  });
});
