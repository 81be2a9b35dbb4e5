import { describe, expect, it } from 'vitest';
import { mergeLists, unmergeLists } from '../../../../cache-proxy/clients/json-merge.ts';

const file = '/etc/docker/daemon.json';

describe('values for a document that belongs to others', () => {
  it('come behind those that are there, once, and everything else stays with its indentation', () => {
    const text = '{\n\t"log-driver": "journald",\n\t"insecure-registries": ["old.test", "pool.test"]\n}\n';

    const merged = mergeLists(text, { 'insecure-registries': ['pool.test', 'new.test'] }, file);

    expect(merged.added).toEqual({ 'insecure-registries': ['new.test'] });
    expect(merged.made).toEqual([]);
    expect(merged.text).toBe(
      '{\n\t"log-driver": "journald",\n\t"insecure-registries": [\n\t\t"old.test",\n\t\t"pool.test",\n\t\t"new.test"\n\t]\n}\n',
    );
  });

  it.each(['{"debug":true}', '{"debug":true,"insecure-registries":["old.test"]}', '{}'])(
    'taken back leave %s as it was',
    (text) => {
      const { text: merged, added, made } = mergeLists(text, { 'insecure-registries': ['pool.test'] }, file);

      expect(JSON.parse(unmergeLists(merged, added, made, file))).toEqual(JSON.parse(text));
    },
  );

  it('taken back leave what somebody added meanwhile', () => {
    const { added, made } = mergeLists('{}', { 'insecure-registries': ['pool.test'] }, file);
    const meanwhile = '{"insecure-registries":["pool.test","other.test"],"debug":true}';

    expect(JSON.parse(unmergeLists(meanwhile, added, made, file))).toEqual({
      'insecure-registries': ['other.test'],
      debug: true,
    });
  });

  it.each([
    ['no JSON', '{"debug": true,}', 'is no JSON'],
    ['no object', '[]', 'holds no JSON object'],
    ['another type at the key', '{"insecure-registries":"pool.test"}', '"insecure-registries" is no list'],
  ])('are refused by name where there is %s', (_, text, message) => {
    const merge = () => mergeLists(text, { 'insecure-registries': ['pool.test'] }, file);

    expect(merge).toThrow(file);
    expect(merge).toThrow(message);
    expect(merge).toThrow('nothing was changed');
  });
});
