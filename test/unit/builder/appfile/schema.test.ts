import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { appFileSchema } from '../../../../builder/appfile/schema.ts';

it('docs/schema/app.v1.json is the schema that the code checks with', () => {
  const file = new URL('../../../../docs/schema/app.v1.json', import.meta.url);

  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(JSON.stringify(appFileSchema)));
});

it('every key of App.yaml says what it means', () => {
  const without: string[] = [];
  const visit = (schema: Record<string, unknown>, path: string): void => {
    for (const [key, value] of Object.entries(
      (schema['properties'] ?? {}) as Record<string, Record<string, unknown>>,
    )) {
      if (value['description'] === undefined && value['$ref'] === undefined) without.push(`${path}${key}`);
      visit(value, `${path}${key}.`);
    }
    const more = schema['additionalProperties'];
    if (typeof more === 'object' && more !== null) visit(more as Record<string, unknown>, `${path}*.`);
  };
  visit(appFileSchema, '');

  expect(without).toEqual([]);
});
