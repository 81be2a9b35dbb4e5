import { describe, expect, it } from 'vitest';
import { createAppFileParser, findAppFile, readAppFile } from '../../../../builder/appfile/parse-appfile.ts';

const parse = createAppFileParser();

/** A good file with `lines` after it, or in place of its entrypoints. */
function faultsOf(lines: string, options: { appname?: string; base?: string } = {}): string[] {
  const { appname = 'shop', base = 'nodejs:26' } = options;
  const entrypoints = lines.includes('entrypoints:') ? '' : 'entrypoints: {web: {cmd: node x}}\n';
  const text = `appname: ${appname}\nbase: ${base}\n${entrypoints}${lines}\n`;
  return parse('App.yaml', text).faults.map((fault) => {
    const hint = fault.hint === undefined ? '' : ` (${fault.hint})`;
    return `${fault.line}:${fault.column} ${fault.code} ${fault.path}: ${fault.message}${hint}`;
  });
}

function role(body: string): string {
  return `entrypoints:\n  web: {${body}}`;
}

describe('parseAppFile', () => {
  it('accepts every key of v1', () => {
    const text = `
apiVersion: v1
appname: shop-web
base: nodejs:26
source: { include: ["**"], exclude: ["test/**"] }
build:
  base: nodejs:26
  commands: ["npm ci", "npm run build"]
  outputs: { dist: /home/shop-web/dist, "lib/*.jar": /home/shop-web/lib/, "a/**": /home/shop-web/a }
  envs: { GOFLAGS: -mod=vendor }
  network: none
  timeout: 15m
test: { commands: [npm test], artifacts: ["reports/*.xml"], network: none, timeout: 5m }
entrypoints:
  web:
    cmd: "bin/httpd.sh -conf conf/resin.xml"
    ports: ["8080/http", 9000]
    healthcheck: { http_port: 8080, url: /ping, code: 200 }
    hook: { after_start: ["a"], before_stop: ["b"] }
    env: { A: b }
    user: root
    dir: web
    restart: no
    stop_signal: INT
    resources: { cpu: 0.5, memory: 512MB }
  worker: { shell: "cd x && ./start" }
  raw: { commands: [a, "b c"] }
envs: { TZ: Asia/Shanghai }
labels: { team: web }
volumes: [/data]
dns: [10.0.0.2]
extra_hosts: ["db:10.0.0.3"]
runtime: runtime.sh
static: bin/static.sh
rebase: never
platforms: [linux/amd64, linux/arm64/v8]
stop_signal: TERM
notify: "#team"
x-note: { anything: [1] }
`;
    const result = parse('App.yaml', text);

    expect(result.faults).toEqual([]);
    expect(result.appfile?.appname).toBe('shop-web');
  });

  it('takes the name of the git repository where appname is missing, and says when that is no name', () => {
    const text = 'entrypoints: {web: {cmd: x}}\n';

    expect(parse('App.yaml', text, { defaultAppName: 'shop' }).appfile?.appname).toBe('shop');
    expect(parse('App.yaml', text, { defaultAppName: 'My.Shop' }).faults[0]).toMatchObject({
      code: 'E015',
      hint: 'write appname',
    });
    expect(parse('App.yaml', text).faults[0]).toMatchObject({
      code: 'E011',
      message: 'the key "appname" is missing',
    });
  });

  it('reports everything at once, in the order of the file', () => {
    const lines = faultsOf('bse: x\nenvs: {A: 1}\nentrypoints: {web_1: {cmd: a | b}, b: {}}');

    expect(lines.map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
      '3:1 E010',
      '4:11 E012',
      '5:15 E014',
      '5:28 E016',
      '5:36 E016',
    ]);
  });

  it.each([
    ['', 'the file is empty'],
    ['- a\n', 'must be a map, not a list'],
    ['just text', 'must be a map, not text'],
  ])('says what is wrong with the file %j as a whole', (text, message) => {
    expect(parse('App.yaml', text).faults[0]?.message).toBe(message);
  });

  it.each([
    ['Shop', /^1:10 E015 appname: must be lower-case letters/],
    ['1shop', /E015/],
    ['shop--x', /E015/],
    ['шоп', /E015/],
    ['shоp', /E015/],
    ['"shop\\nUSER root"', /E015/],
    ['"shop\\u2028x"', /E015/],
    [`a${'b'.repeat(32)}`, /E015 appname: must have at most 32 characters/],
    ['library', /E015 appname: the name "library" is reserved \(try "library-app"\)/],
    ['root', /reserved/],
    ['daemon', /reserved/],
    ['con', /reserved/],
    ['com1', /reserved/],
    ['baseimages', /reserved/],
    ['123', /E012 appname: must be text, not a number \(write "123"\)/],
  ])('refuses the appname %s', (appname, expected) => {
    expect(faultsOf('', { appname })[0]).toMatch(expected);
  });

  it("accepts '_' in an appname with a warning, because old applications have it", () => {
    const result = parse('App.yaml', 'appname: my_shop\nentrypoints: {web: {cmd: x}}\n');

    expect(result.faults).toMatchObject([{ severity: 'warning', hint: 'try "my-shop"' }]);
    expect(result.appfile).toBeDefined();
  });

  it.each([
    '../x',
    '"x --platform=linux/arm64"',
    '"scratch as y"',
    '"nodejs:2 6"',
    'x@sha256:123',
    '"a\\nRUN b"',
  ])('refuses the base %s', (base) => {
    expect(faultsOf('', { base })[0]).toMatch(/^2:7 E022 base: .* is no image reference/);
  });

  it.each([
    ['cmd: "a && b"', /E016 entrypoints.web.cmd: needs shell: "&&" means something to a shell only/],
    ['cmd: "a $PORT"', /needs shell: "\$PORT"/],
    ['cmd: "a $port9"', /needs shell: "\$port9"/],
    ['cmd: ""', /E016 entrypoints.web.cmd: must not be empty/],
    ['cmd: "\\t"', /must not be empty/],
    ['cmd: "-x"', /the first word must be a program/],
    ['cmd: "a \'b"', /a ' is not closed/],
    ['commands: ["", x]', /the first word must be a program/],
    ['shell: " "', /must not be empty/],
    ['ports: [80]', /E016 entrypoints.web: no command: give one of cmd, commands and shell/],
    ['cmd: a, shell: b', /cmd and shell exclude one another/],
    ['cmd: [a, b]', /E012 entrypoints.web.cmd: must be text, not a list/],
  ])('refuses the command {%s}', (body, expected) => {
    expect(faultsOf(role(body)).join('\n')).toMatch(expected);
  });

  it.each([
    ['ports: [22:22]', /E017 entrypoints.web.ports\[0\]: must be a port of the container/],
    ['ports: ["80/htpp"]', /\(did you mean "http"\?\)/],
    ['ports: [5000, "5000/tcp"]', /E017 entrypoints.web.ports\[1\]: the port 5000\/tcp stands twice/],
    ['ports: [70000]', /must be at most 65535/],
    ['ports: 80', /must be a list, not a number/],
    ['ports: [80, 81], healthcheck: {url: /x}', /an HTTP check needs http_port/],
    ['healthcheck: {http_port: 80}', /http_port means something together with url only/],
    ['healthcheck: {url: ping}', /must be a path that begins with "\/"/],
    ['restart: false', /must be no, always, on-failure or unless-stopped \(write "no"\)/],
    ['restart: allways', /did you mean "always"/],
    ['resources: {memory: 512m}', /must be a size with its unit in bytes \(write "512MB"\)/],
    ['resources: {memory: 536870912}', /must be text, not a number/],
    ['resources: {cpu: 0}', /must be more than 0/],
    ['dir: /proc/self/fd/8', /E018 entrypoints.web.dir: must be under \/home\/shop/],
    ['dir: /home/shop/../../proc', /E018/],
    ['dir: /home/other', /E018/],
    ['dir: "/home/shop\\nUSER root"', /must be a path/],
    ['user: admin', /must be app or root/],
    ['stop_signal: TRM', /did you mean "TERM"/],
    ['env: {HOME: /x}', /E019 entrypoints.web.env.HOME: HOME is set by the image/],
    ['env: {"A-B": x}', /the name of a variable has letters, digits and "_"/],
    ['env: {A: "x\\ny"}', /must be one line without control characters/],
    ['env: {A: "x\\u2028y"}', /must be one line/],
  ])('refuses the role {cmd: x, %s}', (body, expected) => {
    expect(faultsOf(role(`cmd: x, ${body}`)).join('\n')).toMatch(expected);
  });

  it.each([
    ['web_1', /E014 entrypoints.web_1: '_' is not allowed in the name of an entrypoint \(try "web-1"\)/],
    ['Web', /E014 .*\(try "web"\)/],
    ['"../x"', /E014 .*\(try "x"\)/],
    ['"1"', /E014/],
    ['🚀', /E014/],
    ['"a\\nb"', /E014 .*\(try "a-b"\)/],
  ])('refuses an entrypoint named %s', (name, expected) => {
    expect(faultsOf(`entrypoints:\n  ${name}: {cmd: x}`).join('\n')).toMatch(expected);
  });

  it.each([
    ['outputs: {"../x": /home/shop/x}', /E018 .*"\.\." would leave the source/],
    ['outputs: {"/etc/shadow": /home/shop/x}', /E013 .*must be a path in the workspace, relative/],
    ['outputs: {"$x": /home/shop/x}', /must be a path in the workspace/],
    ['outputs: {a: /etc/passwd}', /E018 .*outputs go under \/home\/shop/],
    ['outputs: {a: /usr/local/bin/launcher}', /outputs go under \/home\/shop/],
    ['outputs: {a: /etc/ld.so.preload}', /outputs go under \/home\/shop/],
    ['outputs: {a: /home/shop/../other/x}', /E018 .*the path holds "\." or "\.\."/],
    ['outputs: {a: /home/shopping/x}', /outputs go under \/home\/shop/],
    ['outputs: {a: x}', /must be an absolute path/],
    [
      'outputs: {"*.jar": /home/shop/lib}',
      /several files need a directory to go to \(write "\/home\/shop\/lib\/"\)/,
    ],
    ['outputs: {"a/*/b": /home/shop/}', /wildcards of an output stand in its last part only/],
    ['outputs: {"**/b": /home/shop/}', /wildcards of an output/],
    ['timeout: 7h', /E013 build.timeout: must be at most 6h/],
    ['timeout: 0s', /must be a number with s, m or h/],
    ['network: host', /E013 build.network: must be none, proxy or open/],
    ['cache: [/root/.m2]', /E013 build.cache\[0\]: must be a path below the home directory/],
    ['cache: [~/../x]', /E018 build.cache\[0\]: the path holds/],
    ['cache: true', /build.cache: must be false or a list of paths/],
    ['cache: []', /build.cache/],
    ['secrets: ["a b"]', /E013 build.secrets\[0\]: the name of a secret has letters/],
    ['secrets: x', /E012 build.secrets/],
    ['secrets: [x, x]', /build.secrets/],
    ['privileged: true', /E010 build.privileged: unknown key/],
  ])('refuses build: {%s}', (body, expected) => {
    expect(faultsOf(`build: {commands: [make], ${body}}`).join('\n')).toMatch(expected);
  });

  it.each([
    ['test: {commands: [x], timeout: 7h}', /^4:32 E013 test.timeout: must be at most 6h/],
    ['test: {commands: [x], network: bridge}', /E013 test.network: must be none, proxy or open/],
    [
      'test: {commands: [x], artifacts: [/a]}',
      /^4:35 E013 test.artifacts\[0\]: must be a path in the workspace/,
    ],
    ['test: {commands: [x], artifacts: [a/../b]}', /E018 test.artifacts\[0\]: ".." would leave the source/],
    ['test: {artifacts: [a]}', /^4:1 E011 test: the key "commands" is missing/],
    [
      'rebase: never\nbuild: {commands: [x], outputs: {d: /etc/passwd}}',
      /E018 build.outputs.d: belongs to the base image/,
    ],
    [
      'rebase: never\nbuild: {commands: [x], outputs: {d: /bin/d}}',
      /E018 build.outputs.d: is a link into \/usr in base images \(write "\/usr\/bin\/d"\)/,
    ],
    [
      'rebase: never\nstatic: s.sh\nbuild: {commands: [x], outputs: {d: /usr/bin/d}}',
      /E018 build.outputs.d: a static script sees \/home\/shop alone/,
    ],
    ['platforms: [arm64]', /E013 platforms\[0\]: must be a platform such as linux\/amd64/],
    ['platforms: [windows/amd64]', /E013 platforms\[0\]/],
    ['platforms: [linux/amd64, linux/amd64]', /E013 platforms/],
    ['rebase: always', /E013 rebase: must be never, or be left out/],
    ['build: {commands: [x], envs: {HOME: /x}}', /E019 build.envs.HOME: HOME is set by the image/],
    ['static: ../static.sh', /E018 static: the path holds "." or ".."/],
    ['static: /bin/true', /E013 static: must be the path of a script in the source/],
    [
      'apiVersion: v1\nstages: [a]',
      /E020 stages: "stages" is of an old Eru format, and apiVersion says that this file is not/,
    ],
    [`deploy: {a: ${'x'.repeat(33_000)}}`, /E013 deploy: has more than 32768 characters/],
    ['deploy: {dns: [x]}', /E013 deploy.dns: is a key of its own/],
    ['apiVersion: v1\nbuilds: {a: {}}', /E020 builds/],
    ['apiVersion: v1\nmeta: {a: b}', /E020 meta: .*\(write labels\)/],
    ['apiVersion: v1\nfalcon-index: 1', /E020 falcon-index/],
    ['entrypoint: {}', /E010 entrypoint: unknown key "entrypoint" \(did you mean "entrypoints"\?\)/],
    ['runtime: ../x.sh', /E018 runtime/],
    ['runtime: /etc/x.sh', /E013 runtime: must be the path of a script in the source/],
    ['apiVersion: v1\nvolumes: ["/a:/b"]', /E013 volumes\[0\]: must be an absolute path in the container/],
    ['volumes: [/proc/x]', /E018 volumes\[0\]: the system’s own directories cannot be volumes/],
    ['labels: {org.brickyard.roles: x}', /set by the build/],
    ['labels: {a: "x\\ny"}', /must be one line/],
    ['source: {include: ["/etc/**"]}', /must be a path or glob relative to the top/],
    ['source: {include: ["a/../../b"]}', /E018 source.include\[0\]: "\.\." would leave the source/],
    ['source: {include: ["[a"]}', /E018 source.include\[0\]: a set "\[" without its "\]"/],
  ])('refuses %s', (line, expected) => {
    expect(faultsOf(line).join('\n')).toMatch(expected);
  });

  it.each([
    ['mem_limit: 5', /E020 .*write resources: \{ memory: 512MB \}/],
    ['privileged: true', /E020 .*write user: root/],
    ['health_check: /x', /E020 .*write healthcheck/],
    ['publish: [80]', /E020 .*write ports/],
    ['working_dir: /x', /E020 .*write dir/],
  ])('names the v1 spelling of the old key %s', (body, expected) => {
    expect(faultsOf(`apiVersion: v1\n${role(`cmd: x, ${body}`)}`).join('\n')).toMatch(expected);
  });

  it('survives a value of any type under any key', () => {
    const keys = [
      'appname',
      'base',
      'source',
      'build',
      'entrypoints',
      'envs',
      'labels',
      'volumes',
      'runtime',
      'dns',
    ];
    for (const key of keys) {
      for (const value of [
        '5',
        'true',
        '~',
        '[]',
        '[[1]]',
        '{}',
        '{a: [1]}',
        '{web: [1]}',
        '{web: {ports: {}, healthcheck: []}}',
      ]) {
        const result = parse('App.yaml', `${key}: ${value}\n`);

        expect(result.faults.length).toBeGreaterThan(0);
        expect(result.appfile).toBeUndefined();
      }
    }
  });
});

describe('findAppFile', () => {
  it('prefers App.yaml and names the others', () => {
    expect(findAppFile(['x', 'app.yml', 'App.yaml'])).toEqual({ name: 'App.yaml', others: ['app.yml'] });
    expect(findAppFile(['x'])).toBeUndefined();
  });
});

describe('readAppFile', () => {
  const tree = (files: Record<string, string>) => ({
    readFile: (path: string) => Promise.resolve(path in files ? Buffer.from(files[path] ?? '') : undefined),
  });
  const good = 'appname: shop\nentrypoints: {web: {cmd: x}}\n';

  it.each(['App.yaml', 'app.yaml', 'App.yml', 'app.yml'])('finds %s', async (name) => {
    expect((await readAppFile(tree({ [name]: good }), parse))?.document.file).toBe(name);
  });

  it('refuses two of them and accepts none as none', async () => {
    const two = await readAppFile(tree({ 'App.yaml': good, 'app.yml': good }), parse);

    expect(two?.appfile).toBeUndefined();
    expect(two?.faults).toMatchObject([{ code: 'E005', hint: 'remove app.yml' }]);
    expect(await readAppFile(tree({}), parse)).toBeUndefined();
  });
});
