import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { appFileCodes } from '../../../../builder/appfile/codes.ts';
import { parseAppFile } from '../../../../builder/appfile/parse-appfile.ts';
import { appFileSchema } from '../../../../builder/appfile/schema.ts';

const text = readFileSync(new URL('../../../../docs/app-yaml.md', import.meta.url), 'utf8');

it('docs/app-yaml.md explains every error code and no other', () => {
  const explained = [...text.matchAll(/^\| ([EW][0-9]{3}) \|/gm)].map((match) => match[1]);

  expect(new Set(explained)).toEqual(new Set(Object.values(appFileCodes)));
});

it('docs/app-yaml.md explains every key', () => {
  const keys = [
    ...Object.keys(appFileSchema.properties),
    ...Object.keys(appFileSchema.properties.entrypoints.additionalProperties.properties),
  ];

  expect(keys.filter((key) => !text.includes(`\`${key}\``) && !text.includes(`\`${key}.`))).toEqual([]);
});

it('the first example in docs/app-yaml.md lints clean', () => {
  expect(parseAppFile('App.yaml', /```yaml\n([^`]*)```/.exec(text)?.[1] ?? '').faults).toEqual([]);
});
