import { describe, expect, it } from 'vitest';
import { imageContent, mergeEnvironment } from '../../../../builder/plan/image-content.ts';
import { planOf } from './plan-fixture.ts';

const text = `
appname: shop
base: nodejs:26
runtime: deploy/runtime.sh
envs: { TZ: Asia/Shanghai }
labels: { team: web }
volumes: [/data/]
stop_signal: int
entrypoints:
  web:
    cmd: node server.js --name 'it''s $HOME'
    ports: ["8080/http", "8081/udp"]
    env: { QUOTE: "a'b\\"c\`$(id)$HOME" }
    dir: sub
  job: { shell: "a && b", ports: [8080] }
`;

describe('imageContent', () => {
  it('writes a role file that quotes everything', async () => {
    const { files } = imageContent(await planOf(text));

    expect(files.map(({ path, mode, uid, gid }) => [path, mode, uid, gid])).toEqual([
      ['/etc/appimg/roles/job', 0o644, 0, 0],
      ['/etc/appimg/roles/web', 0o644, 0, 0],
    ]);
    expect(files[1]?.content).toBe(
      [
        '# user: app',
        "export QUOTE='a'\\''b\"c`$(id)$HOME'",
        "cd '/home/shop/sub' || exit 1",
        "exec 'node' 'server.js' '--name' 'its $HOME' \"$@\"",
        '',
      ].join('\n'),
    );
  });

  it('passes the arguments of docker run on, after the name that a shell takes first', async () => {
    const { files } = imageContent(await planOf(text));

    expect(files[0]?.content).toContain(`exec '/bin/sh' '-c' 'a && b' 'job' "$@"\n`);
  });

  it('starts the default role through the launcher as the app’s user', async () => {
    const { config, copies } = imageContent(await planOf(text));

    expect(config).toMatchObject({
      user: '10001:10001',
      workingDirectory: '/home/shop',
      environment: { APP_NAME: 'shop', HOME: '/home/shop', TZ: 'Asia/Shanghai' },
      entrypoint: ['/usr/bin/tini', '--', '/usr/local/bin/launcher'],
      command: ['web'],
      exposedPorts: ['8080/tcp', '8081/udp'],
      volumes: ['/data'],
      stopSignal: 'SIGINT',
    });
    expect(copies).toEqual([
      { path: '/etc/appimg/runtime.sh', mode: 0o755, uid: 0, gid: 0, source: 'deploy/runtime.sh' },
    ]);
  });

  it('describes the roles in a label, without the values of their variables', async () => {
    const { labels } = imageContent(await planOf(text)).config;

    expect(labels).toMatchObject({ team: 'web', 'org.brickyard.appname': 'shop' });
    expect(JSON.parse(labels['org.brickyard.roles'] ?? '')).toEqual({
      web: {
        command: ['node', 'server.js', '--name', 'its $HOME'],
        dir: '/home/shop/sub',
        ports: ['8080/http', '8081/udp'],
        healthcheck: { tcpPorts: [8080] },
        env: ['QUOTE'],
        user: 'app',
      },
      job: {
        command: ['/bin/sh', '-c', 'a && b'],
        dir: '/home/shop',
        ports: ['8080/tcp'],
        healthcheck: { tcpPorts: [8080] },
        user: 'app',
      },
    });
  });

  it('leaves a program in the arguments out of the label', async () => {
    const long = 'x'.repeat(3000);
    const { config } = imageContent(
      await planOf(`appname: shop\nbase: nodejs:26\nentrypoints: {a: {commands: [sh, -c, ${long}]}}\n`),
    );

    expect(JSON.parse(config.labels['org.brickyard.roles'] ?? '')).toEqual({
      a: { dir: '/home/shop', user: 'app' },
    });
  });

  it('is root at the start when one role asks for it, and marks the roles', async () => {
    const { config, files } = imageContent(
      await planOf('appname: shop\nbase: nodejs:26\nentrypoints: {a: {cmd: a}, b: {cmd: b, user: root}}\n'),
    );

    expect(config.user).toBe('0:0');
    expect(files.map((file) => file.content.split('\n')[0])).toEqual(['# user: app', '# user: root']);
  });

  it('starts the only role directly on a base without a launcher', async () => {
    const { config, files, copies } = imageContent(
      await planOf(
        'appname: shop\nbase: bare:1\nenvs: {A: "1"}\nentrypoints: {a: {commands: [/a, "b c"], env: {A: "2"}, dir: /opt/a}}\n',
      ),
    );

    expect([files, copies]).toEqual([[], []]);
    expect(config).toMatchObject({
      entrypoint: ['/a', 'b c'],
      command: undefined,
      workingDirectory: '/opt/a',
      environment: { APP_NAME: 'shop', HOME: '/home/shop', A: '2' },
    });
  });
});

it('mergeEnvironment replaces in place and appends at the end, as ENV does', () => {
  expect(mergeEnvironment(['PATH=/bin', 'A=1', 'B=2=3'], { C: '4', A: 'x=y' })).toEqual([
    'PATH=/bin',
    'A=x=y',
    'B=2=3',
    'C=4',
  ]);
});
