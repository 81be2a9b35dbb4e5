import { describe, expect, it } from 'vitest';
import { migrateAppFile } from '../../../../builder/appfile/migrate-appfile.ts';

describe('migrateAppFile', () => {
  it('keeps every comment, those of keys that are gone at the end', () => {
    const text = `# head

# the name
appname: shop # short
base: nodejs:26
entrypoints:
  # the site
  web:
    cmd: node x # with node
    ports: [80]
    # seen by the balancer
    health_check: /ping # quick
    mem_limit: 0 # none
    # before it serves
    after_start: warm # slow
# who
subscribers: "#shop" # channel
# alarms
falcon-index: {a: b} # old
# the end
`;
    const migrated = migrateAppFile('app.yaml', text).text ?? '';
    const comments = (of: string): string[] =>
      [...of.matchAll(/# .*$/gm)].map((match) => match[0]).toSorted();

    expect(comments(migrated)).toEqual(comments(text));
    expect(migrated).toContain('      # seen by the balancer\n      url: /ping # quick\n');
    expect(migrated).toContain('# who\nnotify: "#shop" # channel\n');
    expect(migrated).toContain('  # alarms\n  falcon-index: {a: b} # old\n');
    expect(migrated).toContain('# none');
  });

  it('gives a file of v1 back as it is, byte for byte', () => {
    const text = 'appname:   shop\nbase: nodejs:26 \nentrypoints: { web: {cmd: x} }\n\n';

    expect(migrateAppFile('app.yaml', text)).toMatchObject({ format: 'v1', text });
  });

  it('gives no text for what cannot be built, or is no YAML', () => {
    expect(migrateAppFile('app.yaml', 'a: [').text).toBeUndefined();
    expect(migrateAppFile('app.yaml', 'meta: {a: b}\n')).toMatchObject({ format: 'E1' });
    expect(migrateAppFile('app.yaml', 'meta: {a: b}\n').text).toBeUndefined();
  });
});
