import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { poolsSchema } from '../../../../cache-proxy/pools/pools-schema.ts';

it('docs/schema/pools.v1.json is the schema that the code checks with', () => {
  const file = new URL('../../../../docs/schema/pools.v1.json', import.meta.url);

  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(JSON.stringify(poolsSchema)));
});

it('every key of pools.yaml says what it means', () => {
  const without: string[] = [];
  const visit = (schema: Record<string, unknown>, path: string): void => {
    for (const [key, value] of Object.entries(
      (schema['properties'] ?? {}) as Record<string, Record<string, unknown>>,
    )) {
      if (value['description'] === undefined) without.push(`${path}${key}`);
      visit(value, `${path}${key}.`);
    }
    const items = schema['items'];
    if (typeof items === 'object' && items !== null) visit(items as Record<string, unknown>, `${path}*.`);
  };
  visit(poolsSchema, '');

  expect(without).toEqual([]);
});
