import { describe, expect, it } from 'vitest';
import { faultsOf, meaningOf, roleOf, withRole } from './eru-fixture.ts';

describe('a role of Eru', () => {
  it.each([
    [
      'health_check becomes healthcheck.url',
      'ports: [80/tcp]\nhealth_check: /ping',
      { healthcheck: { url: '/ping' } },
    ],
    [
      'health_check of a role with several ports is made at the first one',
      'ports: [80/tcp, 81/tcp]\nhealth_check: /ping',
      { healthcheck: { url: '/ping', http_port: 80 } },
    ],
    [
      'healthcheck_url, _port and _expected_code become healthcheck',
      'ports: [80]\nhealthcheck_url: /ok\nhealthcheck_port: "80"\nhealthcheck_expected_code: 204',
      { healthcheck: { url: '/ok', http_port: 80, code: 204 } },
    ],
    ['healthcheck_port alone is a TCP check', 'healthcheck_port: 80', { healthcheck: { tcp_ports: [80] } }],
    [
      'healthcheck of E3 takes ports as text, and Citadel’s names',
      'healthcheck: {tcp_ports: ["80"], http_port: "80", http_url: /x, http_code: 200}',
      { healthcheck: { tcp_ports: [80], http_port: 80, url: '/x', code: 200 } },
    ],
    ['publish becomes ports', 'publish: ["80", 81]', { ports: ['80', 81] }],
    ['publish joins ports', 'ports: [79]\npublish: [80]', { ports: [79, 80] }],
    ['privileged becomes user: root', 'privileged: true', { user: 'root' }],
    ['privileged as text becomes user: root', 'privileged: "yes"', { user: 'root' }],
    ['privileged: false is the default', 'privileged: false', { user: undefined }],
    ['working_dir becomes dir', 'working_dir: /home/shop/app', { dir: '/home/shop/app' }],
    ['working_dir in /<appname> moves to /home', 'working_dir: /shop/app', { dir: '/home/shop/app' }],
    [
      'after_start and before_stop become lists of hook',
      'after_start: warm up\nbefore_stop: drain',
      { hook: { after_start: ['warm up'], before_stop: ['drain'] } },
    ],
    [
      'mem_limit in bytes becomes resources.memory',
      'mem_limit: 536870912',
      { resources: { memory: '512MB' } },
    ],
    [
      'a mem_limit that is no whole unit keeps its bytes',
      'mem_limit: 1000001',
      { resources: { memory: '1000001B' } },
    ],
    ['a large odd mem_limit is rounded up', 'mem_limit: 5000000001', { resources: { memory: '4882813KB' } }],
    ['mem_limit: 0 is no limit', 'mem_limit: 0', { resources: undefined }],
    ['restart: no is text', 'restart: no\nprivileged: false', { restart: 'no' }],
  ])('%s', (_name, body, expected) => {
    const role = roleOf(body);

    for (const [key, value] of Object.entries(expected)) expect(role[key]).toEqual(value);
  });

  it('healthcheck_url without a code says that 200 to 499 were healthy', () => {
    expect(faultsOf(withRole('ports: [80]\nhealthcheck_url: /ok'))).toEqual([
      '7:5 warning W002 entrypoints.web.healthcheck_url: Eru took any status from 200 to 499 for healthy; now it is 200 (write code)',
    ]);
  });

  it('health_check of a role without ports is kept for the scheduler', () => {
    expect(meaningOf(withRole('health_check: /x')).deploy).toEqual({
      roles: { web: { health_check: '/x' } },
    });
  });

  it('permdir becomes a volume that ERU_PERMDIR names', () => {
    const file = meaningOf(withRole('permdir: true', 'volumes: [/a]'));

    expect(file.volumes).toEqual(['/a', '/home/shop/permdir']);
    expect(file.entrypoints['web']?.env).toEqual({ ERU_PERMDIR: '/home/shop/permdir' });
  });

  it('hosts becomes extra_hosts, each once', () => {
    const text = withRole(
      'hosts: ["db:10.0.0.2"]',
      '  b:\n    cmd: x\n    hosts: ["db:10.0.0.2", "c:10.0.0.3"]',
    );

    expect(meaningOf(text).extra_hosts).toEqual(['db:10.0.0.2', 'c:10.0.0.3']);
  });

  it.each([
    'exposes: ["80:8080"]',
    'network_mode: host',
    'network_route: 10.0.0.1',
    'log: {type: none}',
    'log_config: syslog',
    'backup_path: [/a]',
    'run_and_wait_timeout: 5',
  ])('%s is kept for the scheduler, and told of', (line) => {
    const key = line.split(':')[0] ?? '';
    const [fault] = faultsOf(withRole(line));

    expect(Object.keys(meaningOf(withRole(line)).deploy ?? {})).toEqual(['roles']);
    expect(fault).toBe(
      `6:5 info W002 entrypoints.web.${key}: kept for the scheduler as deploy.roles.web.${key}, in the label org.brickyard.deploy`,
    );
  });

  it('hooks that v1 does not have are kept for the scheduler', () => {
    const file = meaningOf(withRole('hook: {after_start: [a], after_resume: [b], force: true}'));

    expect(file.entrypoints['web']?.hook).toEqual({ after_start: ['a'] });
    expect(file.deploy).toEqual({ roles: { web: { hook: { after_resume: ['b'], force: true } } } });
  });

  it('an unknown key warns with what was meant, and is kept', () => {
    const text = withRole('privileged: true\nrestrat: always');

    expect(faultsOf(text)[0]).toBe(
      '7:5 warning W002 entrypoints.web.restrat: unknown key "restrat" (did you mean "restart"?)',
    );
    expect(meaningOf(text).deploy).toEqual({ roles: { web: { restrat: 'always' } } });
  });

  it.each([
    ['image: other', /^6:5 error E020 entrypoints\.web\.image: a role cannot have an image of its own/],
    ['sysctls: {a: b}', /^6:5 error E020 entrypoints\.web\.sysctls: an image cannot set sysctls/],
    ['working_dir: /a\ndir: /b', /E020 entrypoints\.web\.working_dir: "working_dir" and "dir" mean the same/],
    [
      'after_start: a\nhook: {after_start: [b]}',
      /E020 entrypoints\.web\.after_start: hook\.after_start is there too/,
    ],
    [
      'mem_limit: 5\nresources: {memory: 5MB}',
      /E020 entrypoints\.web\.mem_limit: resources\.memory is there too/,
    ],
  ])('refuses %j with its place', (body, expected) => {
    expect(faultsOf(withRole(body)).join('\n')).toMatch(expected);
  });

  it('faults that v1 finds point into the file as it is', () => {
    expect(faultsOf(withRole('ports: [80]\nhealth_check: ping'))).toEqual([
      '7:19 error E013 entrypoints.web.healthcheck.url: must be a path that begins with "/", without blanks',
    ]);
    expect(faultsOf(withRole('working_dir: /root'))[0]).toMatch(/^6:18 error E018 entrypoints\.web\.dir/);
    expect(faultsOf(withRole('publish: ["80:80"]'))[0]).toMatch(
      /^6:15 error E017 entrypoints\.web\.ports\[0\]/,
    );
    expect(faultsOf(withRole('mem_limit: 512m'))[0]).toMatch(/^6:16 error E013 .*\(write "512MB"\)/);
    expect(faultsOf('appname: a\nmeta: {}\nentrypoints: {web_1: {cmd: x}}')[0]).toMatch(/^3:15 error E014/);
    expect(faultsOf('appname: a\nmeta: {}\nentrypoints: {web: {cmd: x $port1}}')[0]).toMatch(
      /^3:26 error E016/,
    );
  });
});
