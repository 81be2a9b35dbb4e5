/** Files of a repository by their paths. */
export type SampleFiles = Readonly<Record<string, string>>;

/**
 * A web application of a servlet and a JSP. Java's headless runtime on Debian has a compiler, and the servlet API is the server's own, so the
 * build needs nothing from anywhere: `api` is the path of its jar. Outputs are up to `outputs`: a WAR in one piece, or unpacked.
 */
export function servletApp(options: {
  readonly appname: string;
  readonly base: string;
  readonly command: string;
  /** `javax`, or `jakarta` since Servlet 5. */
  readonly namespace: string;
  readonly api: string;
  readonly outputs: string;
}): SampleFiles {
  const { appname, base, command, namespace, api, outputs } = options;
  return {
    'App.yaml': `appname: ${appname}
base: ${base}
build:
  commands:
    - java -m jdk.compiler/com.sun.tools.javac.Main -d web/WEB-INF/classes -cp ${api} src/shop/Hello.java
    - java -m jdk.jartool/sun.tools.jar.Main -cf shop.war -C web .
  outputs: ${outputs}
  network: none
entrypoints:
  web:
    cmd: ${command}
    ports: ["8080/http"]
    healthcheck: { url: /hello }
`,
    'src/shop/Hello.java': `package shop;

import java.io.IOException;
import ${namespace}.servlet.http.HttpServlet;
import ${namespace}.servlet.http.HttpServletRequest;
import ${namespace}.servlet.http.HttpServletResponse;

public class Hello extends HttpServlet {
  @Override
  protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
    response.getWriter().printf("%s on Java %s for %s",
        getServletContext().getServerInfo(), System.getProperty("java.version"), System.getenv("APP_NAME"));
  }
}
`,
    'web/WEB-INF/web.xml': `<?xml version="1.0" encoding="UTF-8"?>
<web-app version="3.0" xmlns="http://java.sun.com/xml/ns/javaee">
  <servlet><servlet-name>hello</servlet-name><servlet-class>shop.Hello</servlet-class></servlet>
  <servlet-mapping><servlet-name>hello</servlet-name><url-pattern>/hello</url-pattern></servlet-mapping>
</web-app>
`,
    'web/sum.jsp': '<%@ page contentType="text/plain" %>the sum is <%= 20 + 22 %>',
  };
}

const helloYaml = `appname: hello
base: nodejs:26
entrypoints:
  web:
    cmd: node web.js
    ports: ["8080/http"]
    env: { GREETING: "hello from the web role" }
  worker:
    cmd: node worker.js --queue mail
`;

/** Two roles of one image; the web role tells what it finds around it. */
export const nodeApp: SampleFiles = {
  'App.yaml': helloYaml,
  'package.json': '{"type":"module"}\n',
  'web.js': `import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
const text = (name) => { try { return readFileSync(name, 'utf8'); } catch { return ''; } };
const server = createServer((request, response) => response.end(JSON.stringify({
  greeting: process.env.GREETING, app: process.env.APP_NAME, uid: process.getuid(), made: text('made.txt'), source: text('secret-source.txt'),
})));
server.listen(8080);
process.on('SIGTERM', () => server.close(() => process.exit(0)));
`,
  'worker.js': "console.log('worker of', process.env.APP_NAME, process.argv.slice(2).join(' '));\n",
};

/** What a later commit of it changes: a file that is made of one that stays out of the image. */
export const nodeAppWithBuild: SampleFiles = {
  'App.yaml': `${helloYaml}source: { exclude: [secret-source.txt] }
build:
  commands:
    - node -e "console.log('building with', process.version)"
    - node -e "require('fs').writeFileSync('made.txt', require('fs').readFileSync('secret-source.txt', 'utf8').toUpperCase())"
  outputs: { made.txt: /home/hello/made.txt }
`,
  'secret-source.txt': 'made by the build',
};

/** And one whose build fails. */
export const nodeAppThatFails: SampleFiles = {
  'App.yaml': `${helloYaml}build: ["echo about to fail; exit 3"]\n`,
};

/** Answers with its arguments and its environment's APP_NAME on the port that its last argument ends with. */
const pythonServer = `import http.server, json, os, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({'path': self.path, 'arguments': sys.argv[1:], 'app': os.environ['APP_NAME'], 'uid': os.getuid(),
                           'python': '.'.join(map(str, sys.version_info[:2]))}).encode()
        self.send_response(200)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

if __name__ == '__main__':
    http.server.ThreadingHTTPServer(('0.0.0.0', int(sys.argv[-1].split(':')[-1])), Answer).serve_forever()
`;

export const pythonApp: SampleFiles = {
  'App.yaml': `appname: answers
base: python:3.11
test:
  commands: [python -m unittest]
  network: none
entrypoints:
  web:
    cmd: python app.py 8080
    ports: ["8080/http"]
`,
  'app.py': pythonServer,
  'test_app.py': `import unittest, app

class Test(unittest.TestCase):
    def test_that_it_can_answer(self):
        self.assertTrue(app.Answer.do_GET)
`,
};

/** What a release archive of a Node project holds: no App.yaml. */
export const nodeRelease: SampleFiles = {
  'release-1.4/package.json': '{"name":"release","version":"1.4.0","scripts":{"start":"node server.js"}}\n',
  'release-1.4/server.js': `const { createServer } = require('node:http');
createServer((request, response) => response.end('release ' + process.env.APP_NAME)).listen(8080);
process.on('SIGTERM', () => process.exit(0));
`,
};

/**
 * Eru's first format. Keys and values are those of the sample in docs/Appconfig.md of projecteru/eru-core (at d81a878, no licence stated, so this is
 * written anew), but for gunicorn, whose part app.py plays, and for the build, which fetched packages from the internet.
 */
export const eruFirst: SampleFiles = {
  'app.yaml': `appname: "testapp"
entrypoints:
  web:
    cmd: "python app.py -b 127.0.0.1:5000"
    ports: ["5000/tcp", "5001/udp"]
    network_mode: "bridge"
  daemon:
    cmd: "python daemon.py --interval 5"
  service:
    cmd: "python service.py --port 6000"
    ports: ["6000/tcp"]
    network_mode: "host"
build:
  - "python -m compileall -q app.py"
  - "cp app.py service.py"
volumes: ["/inside_container/data1", "/inside_container/data2"]
binds:
  /on_host/data1: { bind: "/inside_container/data1", ro: false }
  /on_host/data2: { bind: "/inside_container/data2", ro: true }
`,
  'app.py': pythonServer,
  'daemon.py': 'import sys\nprint("daemon", *sys.argv[1:])\n',
};

/**
 * The second format. Keys and values follow the one that tests/test_specs.py of projecteru/citadel (at 8abc341, no licence stated, so this is
 * written anew) parses, but for names of people, the base image, gunicorn, and the build, which fetched from the internet.
 */
export const eruSecond: SampleFiles = {
  'app.yaml': `appname: "test-ci"
base: "python:3.11"
build:
  - "cp run.py rsyslog_test.py"
  - "python -m compileall -q ."
entrypoints:
  web:
    cmd: "python run.py 5000"
    ports: ["5000/tcp"]
    restart: "always"
    healthcheck_url: "/healthcheck"
    healthcheck_expected_code: 200
    permdir: true
    publish_path: "/rhllor/service/com.platform.test"
  rsyslog:
    cmd: "python rsyslog_test.py 5000"
    ports: ["5000/tcp"]
    restart: "always"
  test:
    after_start: "sh after_start"
    cmd: "python run.py --bind 0.0.0.0:5000"
    before_stop: "sh before_stop"
    ports: ["5000/tcp"]
  web-host:
    cmd: "python run.py --port 43345"
    ports: ["43345/tcp"]
    network_mode: "host"
  none:
    cmd: "echo foo"
subscribers: "#platform"
mount_paths: ["/var/www/html", "/data/test-ci"]
permitted_users: ["somebody"]
combos:
  test:
    cpu: 1
    memory: "512MB"
    podname: "develop"
    entrypoint: "web"
    networks: ["release"]
    extra_env: "FOO=bar;"
crontab:
  - '* * * * * cron'
`,
  'run.py': pythonServer,
};

/**
 * The current format. Keys and values are those of spec.yaml of projecteru2/core (at 345bd6d, MIT licence, written anew all the same), but for the
 * base images, the commands, which compiled Go, and the place of the program in the image: /usr/bin is the base image's own.
 */
export const eruCurrent: SampleFiles = {
  'app.yaml': `appname: "eru"
entrypoints:
  core:
    cmd: "python /home/eru/eru-core --config /core.yaml 5001"
    restart: always
    publish:
      - "5001"
    healthcheck:
      tcp_ports:
        - "5001"

stages:
  - build
  - pack
builds:
  build:
    base: "python:3.11"
    repo: "git@github.com:projecteru2/core.git"
    version: "HEAD"
    security: false
    dir: /go/src/github.com/projecteru2/core
    commands:
      - python -m py_compile core.py
      - cp core.py eru-core
    cache:
      /go/src/github.com/projecteru2/core/eru-core: /home/eru/eru-core
  pack:
    base: "python:3.11"
    labels:
      ERU: 1
      core: 1
    envs:
      CORE_IN_DOCKER: 1
`,
  'core.py': pythonServer,
};
