import { describe, expect, it } from 'vitest';
import { planOf, planText } from '../../plan/plan-fixture.ts';
import { faultsOf, meaningOf, withRole } from './eru-fixture.ts';

function fileOf(top: string): Record<string, unknown> {
  return meaningOf(withRole('', top)) as unknown as Record<string, unknown>;
}

describe('the top of a file of Eru', () => {
  it.each([
    [
      'meta becomes labels, as text',
      'meta: {tier: 1, v: 1.10, x: true}',
      { labels: { tier: '1', v: '1.10', x: 'true' } },
    ],
    ['meta joins labels', 'labels: {a: b}\nmeta: {c: d}', { labels: { a: 'b', c: 'd' } }],
    [
      'maps in meta are kept for the scheduler',
      'meta: {a: b, c: {d: e}}',
      { labels: { a: 'b' }, deploy: { meta: { c: { d: 'e' } } } },
    ],
    ['hosts becomes extra_hosts', 'hosts: ["db:10.0.0.2"]', { extra_hosts: ['db:10.0.0.2'] }],
    ['subscribers becomes notify', 'subscribers: "#shop"', { notify: '#shop' }],
    ['a list of subscribers becomes notify', 'subscribers: [a, b]', { notify: 'a, b' }],
    ['an empty list of build is left out', 'build: []\nmeta: {a: b}', { build: undefined }],
    ['build as text stays', 'build: make\nmeta: {a: b}', { build: 'make' }],
    ['build as list stays', 'build: [make, make x]\nmeta: {a: b}', { build: ['make', 'make x'] }],
    [
      'a version is kept as typed, even one that YAML takes for a number',
      'version: 12e4567',
      { deploy: { version: '12e4567' } },
    ],
    [
      'volumes with a host side become paths in the container, $APPDIR the directory of the application',
      'volumes: ["$PERMDIR/log:$APPDIR/log:rw", "/a:/data", /own]',
      {
        volumes: ['/own', '/home/shop/log', '/data'],
        deploy: { volumes: ['$PERMDIR/log:$APPDIR/log:rw', '/a:/data', '/own'] },
      },
    ],
    [
      'binds become volumes, each once',
      'volumes: [/data]\nbinds: {/mnt: {bind: /data, ro: false}, /m2: {bind: /shop/x, ro: true}}',
      {
        volumes: ['/data', '/home/shop/x'],
        deploy: { binds: { '/mnt': { bind: '/data', ro: false }, '/m2': { bind: '/shop/x', ro: true } } },
      },
    ],
    [
      'mount_paths become volumes',
      'mount_paths: [/data]',
      { volumes: ['/data'], deploy: { mount_paths: ['/data'] } },
    ],
    [
      'a bind over the system’s directories is the scheduler’s alone',
      'binds: {/etc/localtime: {bind: /etc/localtime, ro: true}}',
      { volumes: undefined, deploy: { binds: { '/etc/localtime': { bind: '/etc/localtime', ro: true } } } },
    ],
  ])('%s', (_name, top, expected) => {
    const file = fileOf(top);

    for (const [key, value] of Object.entries(expected)) expect(file[key]).toEqual(value);
  });

  it.each([
    'combos: {a: {cpu: 1}}',
    'crontab: ["0 4 * * * a"]',
    'permitted_users: [a]',
    'erection_timeout: 5m',
    'freeze_node: true',
    'smooth_upgrade: false',
    'falcon-index: 1',
    'falcon-alarm: {cpu_usage_rate: 1}',
    'volumes_request: [a]',
    'container_user: "1"',
    'name: group',
  ])('%s is kept for the scheduler, and told of', (line) => {
    const key = line.split(':')[0] ?? '';

    expect(Object.keys(fileOf(line)['deploy'] ?? {})).toEqual([key]);
    expect(faultsOf(withRole('', line))).toEqual([
      `6:1 info W002 ${key}: kept for the scheduler as deploy.${key}, in the label org.brickyard.deploy`,
    ]);
  });

  it('what is kept can be read back from the label of the image', async () => {
    const plan = await planOf(
      withRole('network_mode: host', 'subscribers: "#shop"\ncombos: {a: {zone: c1}}'),
    );

    expect(JSON.parse(plan.labels['org.brickyard.deploy'] ?? '')).toEqual({
      notify: '#shop',
      combos: { a: { zone: 'c1' } },
      roles: { web: { network_mode: 'host' } },
    });
  });

  it.each([
    ['subscribers: x', '[cd src, make]', 'cd src && make'],
    ['subscribers: x', '["export A=1; true", "make && cd x", y]', 'export A=1; true && make && cd x && y'],
    ['subscribers: x', '[make, cd src]', ['make', 'cd src']],
  ])('with %s the commands %s share a shell as they did', (more, build, expected) => {
    expect(meaningOf(withRole('', `${more}\nbuild: ${build}`)).build).toEqual(expected);
  });

  it('the test of the first weeks is run', async () => {
    const { plan } = await planText(withRole('', 'test: ./runtest.sh\nmeta: {a: b}'));

    expect(plan?.test?.commands).toEqual(['./runtest.sh']);
  });

  const merging =
    'appname: shop\nbase: nodejs:26\nsubscribers: x\nentrypoints:\n  web: &web {cmd: a, mem_limit: 1048576, env: {A: b}}\n  job: {cmd: j, <<: *web, env: {C: d}}\n';

  it('carries merge keys out, as the YAML of its time did', () => {
    expect(meaningOf(merging).entrypoints).toMatchObject({
      web: { cmd: 'a', env: { A: 'b' }, resources: { memory: '1MB' } },
      job: { cmd: 'j', env: { C: 'd' }, resources: { memory: '1MB' } },
    });
    expect(
      meaningOf(merging.replace('*web', '[{mem_limit: 0}, *web]')).entrypoints['job'],
    ).not.toHaveProperty('resources');
  });

  it.each([
    ['a file of v1', merging.replace('subscribers: x\n', '').replace(', mem_limit: 1048576', '')],
    ['what is no map', merging.replace('*web', '5')],
  ])('refuses merge keys in %s', (_, text) => {
    expect(faultsOf(text).join('\n')).toMatch(/error E004 .*merge keys? \(<<\)/);
  });

  it('accepts "_" in the name of an application with a warning', () => {
    const faults = faultsOf(
      'appname: old_shop\nbase: nodejs:26\nmeta: {a: b}\nentrypoints: {web: {cmd: x}}\n',
    );

    expect(faults).toEqual([
      `1:10 warning W001 appname: '_' in the name of an application is accepted for old ones only (try "old-shop")`,
    ]);
  });

  it('keeps unknown keys with a warning', () => {
    expect(faultsOf(withRole('', 'meta: {a: b}\nfoo: 1'))[0]).toBe('7:1 warning W002 foo: unknown key "foo"');
    expect(fileOf('meta: {a: b}\nfoo: 1')['deploy']).toEqual({ foo: 1 });
  });

  it('a file without base is told which one fits the project', async () => {
    const text = 'appname: shop\nmeta: {a: b}\nbuild: npm ci\nentrypoints: {web: {cmd: node x}}\n';
    const { plan, faults } = await planText(text, ['package.json']);

    expect(plan).toBeUndefined();
    expect(faults.find((fault) => fault.severity === 'error')).toMatchObject({
      code: 'E022',
      hint: 'write base: nodejs:26',
    });
  });

  it('writes aliases out, each mapped in its own place', () => {
    const text = 'appname: a\nbase: b:1\nentrypoints:\n  a: &a {after_start: s, cmd: x}\n  b: *a\n';
    const role = { cmd: 'x', hook: { after_start: ['s'] } };

    expect(meaningOf(text).entrypoints).toEqual({ a: role, b: role });
  });

  it.each([
    ['port: 80', /^6:1 error E020 port: "port" at the top is of the first weeks/],
    ['commands: [{web: x}]', /^6:1 error E020 commands:/],
    [
      'build: {cache: [/a], commands: [b]}\nmeta: {a: b}',
      /^6:17 error E013 build.cache\[0\]: must be a path below/,
    ],
    ['binds: [a]', /^6:1 error E020 binds: must be a map/],
    ['binds: {/a: {ro: true}}', /^6:9 error E020 binds\["\/a"\]: a bind needs its path/],
    ['labels: {a: b}\nmeta: {a: c}', /^7:8 error E020 meta\.a: labels\.a is there too/],
    ['volumes: ["/a:b"]', /^6:11 error E013 volumes\[0\]: must be an absolute path/],
    ['meta: {"0": x}', /^6:8 error E013 labels\.0: a label has letters/],
    ['meta: 5', /^6:7 error E012 labels: must be a map/],
  ])('refuses %j with its place', (top, expected) => {
    expect(faultsOf(withRole('', top)).find((fault) => fault.includes(' error '))).toMatch(expected);
  });

  it('refuses maps and lists of more than 500 entries', () => {
    const keys = Array.from({ length: 501 }, (_, index) => `k${index}: 1`).join(', ');

    expect(faultsOf(withRole('', `meta: {${keys}}`))[0]).toMatch(
      /error E004 : a map or list of a file of Eru/,
    );
  });

  it('survives a value of any type under any key', () => {
    const keys =
      'meta binds volumes mount_paths stages builds complex_build hosts subscribers version combos entrypoints labels deploy build';
    for (const key of keys.split(' ')) {
      for (const value of [
        '5',
        '~',
        'true',
        '[]',
        '[[1], ~]',
        '{}',
        '{a: [1], b: ~}',
        '{web: {hook: 5, ports: {}}}',
        '{a: {b: {}}}',
      ]) {
        expect(() => faultsOf(`appname: a\nfalcon-x: 1\n${key}: ${value}\n`)).not.toThrow();
        expect(() =>
          faultsOf(`appname: a\nstages: [x, y]\n${key === 'stages' ? 'x-y' : key}: ${value}\n`),
        ).not.toThrow();
      }
    }
    for (const key of 'publish health_check healthcheck healthcheck_port mem_limit hook after_start permdir hosts env ports'.split(
      ' ',
    )) {
      for (const value of ['5', '~', 'true', '[]', '[[1], ~]', '{}', '{a: [1]}']) {
        expect(() => faultsOf(withRole(`privileged: true\n${key}: ${value}`))).not.toThrow();
      }
    }
  });
});
