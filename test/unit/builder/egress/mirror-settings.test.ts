import { expect, it } from 'vitest';
import { egressEnvironment, egressFiles } from '../../../../builder/egress/mirror-settings.ts';

const proxy = { host: '127.0.0.1', port: 15128 };
const mirrors = {
  npm: 'https://nexus.example/npm/',
  pypi: 'http://nexus.example:8081/simple',
  maven: 'https://nexus.example/maven?a=1&b=2',
  go: 'https://nexus.example/go',
};

it('the usual variables name the proxy, and loopback stays what it is', () => {
  expect(egressEnvironment(proxy, {})).toEqual({
    HTTP_PROXY: 'http://127.0.0.1:15128',
    HTTPS_PROXY: 'http://127.0.0.1:15128',
    NO_PROXY: 'localhost,127.0.0.1,::1',
    http_proxy: 'http://127.0.0.1:15128',
    https_proxy: 'http://127.0.0.1:15128',
    no_proxy: 'localhost,127.0.0.1,::1',
    NODE_USE_ENV_PROXY: '1',
  });
});

it('mirrors reach npm, pip, Maven and Go where each looks for them', () => {
  const files = Object.fromEntries(egressFiles(proxy, mirrors).map(({ path, content }) => [path, content]));

  expect(files['.npmrc']).toBe('registry=https://nexus.example/npm/\n');
  expect(files['.config/pip/pip.conf']).toBe(
    '[global]\nindex-url = http://nexus.example:8081/simple\ntrusted-host = nexus.example\n',
  );
  expect(files['.m2/settings.xml']).toContain('<url>https://nexus.example/maven?a=1&amp;b=2</url>');
  expect(files['.m2/settings.xml']).toContain('<mirrorOf>central</mirrorOf>');
  expect(egressEnvironment(proxy, mirrors)).toMatchObject({ GOPROXY: 'https://nexus.example/go' });
});

it('without mirrors only those programs get a file that would not find the proxy otherwise', () => {
  const files = egressFiles(proxy, {});

  expect(files.map(({ path }) => path)).toEqual(['.m2/settings.xml', '.gradle/gradle.properties']);
  expect(files[0]?.content).toContain('<port>15128</port>');
  expect(files[0]?.content).not.toContain('<mirror>');
});
