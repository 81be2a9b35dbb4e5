import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../oci/digest.ts';
import { encodeImageConfig, parseImageConfig } from '../../../oci/image-config.ts';

const diffId = digestOf('layer');

describe('image configs', () => {
  it('are read with what Go writes for nothing: null, empty text, missing fields', () => {
    const image = parseImageConfig(
      Buffer.from(
        JSON.stringify({
          architecture: 'amd64',
          os: 'linux',
          author: '',
          config: {
            User: '',
            Env: null,
            Cmd: ['sh'],
            Labels: null,
            Volumes: { '/a': {} },
            OnBuild: ['RUN x'],
          },
          rootfs: { type: 'layers', diff_ids: [diffId] },
          history: [{ created_by: 'x', empty_layer: true }, { created_by: 'y' }],
        }),
      ),
    );

    expect(image).toEqual({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['sh'], Volumes: { '/a': {} } },
      diffIds: [diffId],
      history: [{ created_by: 'x', empty_layer: true }, { created_by: 'y' }],
    });
  });

  it('are written the same whatever the order of their maps, and read back', () => {
    const image = (labels: Record<string, string>) => ({
      architecture: 'amd64',
      os: 'linux',
      created: '1980-01-01T00:00:01Z',
      config: { Labels: labels, Env: ['B=1', 'A=2'], ExposedPorts: { '80/tcp': {} } },
      diffIds: [diffId],
    });

    const bytes = encodeImageConfig(image({ a: '1', b: '2' }));

    expect(encodeImageConfig(image({ b: '2', a: '1' })).equals(bytes)).toBe(true);
    expect(parseImageConfig(bytes)).toEqual(image({ a: '1', b: '2' }));
  });

  it.each([
    ['text', 'not json'],
    ['a list', '[]'],
    ['no layers', '{"os":"linux"}'],
    ['a layer that is no digest', '{"rootfs":{"diff_ids":["sha256:x"]}}'],
    ['an environment that is no list', `{"config":{"Env":"A=1"},"rootfs":{"diff_ids":[]}}`],
    ['labels that are no text', `{"config":{"Labels":{"a":1}},"rootfs":{"diff_ids":[]}}`],
    ['a history that is no list', `{"history":{},"rootfs":{"diff_ids":[]}}`],
  ])('are refused when they are %s', (_, text) => {
    expect(() => parseImageConfig(Buffer.from(text))).toThrow(
      expect.objectContaining({ code: 'MANIFEST_INVALID' }),
    );
  });
});
