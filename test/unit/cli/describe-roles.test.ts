import { expect, it } from 'vitest';
import { imageContent } from '../../../builder/plan/image-content.ts';
import { describeRoles } from '../../../cli/commands/describe-roles.ts';
import { planOf } from '../builder/plan/plan-fixture.ts';

it('everything that App.yaml says of a role can be read back from the image', async () => {
  const plan = await planOf(`
appname: shop
base: nodejs:26
entrypoints:
  web:
    cmd: node 'a b'
    ports: ["8080/http", "53/udp"]
    healthcheck: { url: /ping, http_port: 8080, tcp_ports: [8080] }
    hook: { after_start: [warm up, ready], before_stop: [drain] }
    env: { A: "1", B: "2" }
    user: root
    dir: web
    restart: always
    stop_signal: INT
    resources: { cpu: 0.5, memory: 512MB }
  worker: { cmd: work }
`);
  const label = imageContent(plan).config.labels['org.brickyard.roles'] ?? '';

  expect(describeRoles(JSON.parse(label) as Record<string, unknown>)).toEqual([
    "role         web: node 'a b'",
    '  dir        /home/shop/web',
    '  user       root',
    '  ports      8080/http 53/udp',
    '  health     HTTP :8080/ping gives 200, TCP 8080',
    '  after start warm up; ready',
    '  before stop drain',
    '  env        A B',
    '  resources  0.5 CPU, 512 MiB of memory',
    '  restart    always',
    '  stop       SIGINT',
    'role         worker: work',
    '  dir        /home/shop',
    '  user       app',
  ]);
});

it.each([
  [{ web: 5 }, ['role         web: 5']],
  [{ web: { command: 5, ports: {}, healthcheck: [], hooks: 'x', resources: null } }, expect.any(Array)],
  [
    { web: { healthcheck: { url: 1 }, hooks: { afterStart: 5 }, resources: { cpu: 'x' } } },
    expect.any(Array),
  ],
])('a label of others is shown as it is: %j', (roles, expected) => {
  expect(describeRoles(roles)).toEqual(expected);
});
