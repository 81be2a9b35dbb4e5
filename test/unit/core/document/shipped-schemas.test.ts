import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect, it } from 'vitest';
import { appFileSchema } from '../../../../builder/appfile/schema.ts';
import { baseFileSchema } from '../../../../builder/catalog/base-file-schema.ts';
import { catalogFileSchema } from '../../../../builder/catalog/catalog-file.ts';
import { poolsSchema } from '../../../../cache-proxy/pools/pools-schema.ts';
import { configSchema } from '../../../../cli/config.ts';
import { fileSchema, type SettingSchema } from '../../../../core/config/settings.ts';

// Documents are checked without looking at the schema itself, as that costs every process more than everything else about it.
it.each([
  ['App.yaml', appFileSchema],
  ['base.yaml', baseFileSchema],
  ['catalog.yaml', catalogFileSchema],
  ['pools.yaml', poolsSchema],
  ['brickyard.yaml', fileSchema(configSchema as unknown as SettingSchema)],
])('the schema of %s is JSON Schema 2020-12', (_file, schema) => {
  const ajv = new Ajv2020({ strictTypes: false, allowUnionTypes: true });

  expect(ajv.validateSchema(schema), ajv.errorsText()).toBe(true);
});

it('what is no JSON Schema is seen', () => {
  expect(new Ajv2020({ logger: false }).validateSchema({ type: 'text' })).toBe(false);
});
