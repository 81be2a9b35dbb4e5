/** A company's own package registries, as addresses without credentials. */
export interface PackageMirrors {
  /** For npm, Yarn and pnpm. */
  readonly npm?: string;
  /** The "simple" index, for pip. */
  readonly pypi?: string;
  /** Stands in for Maven Central. */
  readonly maven?: string;
  /** A module proxy. */
  readonly go?: string;
}

export interface ProxyAddress {
  readonly host: string;
  readonly port: number;
}

/** What tells the usual programs about the proxy. A build's own variables go before them. */
export function egressEnvironment(
  { host, port }: ProxyAddress,
  mirrors: PackageMirrors,
): Readonly<Record<string, string>> {
  const proxy = `http://${host}:${port}`;
  const local = 'localhost,127.0.0.1,::1';
  return {
    HTTP_PROXY: proxy,
    HTTPS_PROXY: proxy,
    NO_PROXY: local,
    // curl reads HTTP_PROXY in lower case alone (CGI scripts get headers as HTTP_…).
    http_proxy: proxy,
    https_proxy: proxy,
    no_proxy: local,
    // Node.js 24 and later; fetch and node:http ignore the variables otherwise.
    NODE_USE_ENV_PROXY: '1',
    ...(mirrors.go === undefined ? {} : { GOPROXY: mirrors.go }),
  };
}

/**
 * Settings below $HOME, for programs that read no variables, or whose variables would go before what the application's own files say.
 * Names are relative.
 */
export function egressFiles(
  { host, port }: ProxyAddress,
  mirrors: PackageMirrors,
): readonly { readonly path: string; readonly content: string }[] {
  const { npm, pypi, maven } = mirrors;
  const files = [
    { path: '.m2/settings.xml', content: mavenSettings({ host, port }, maven) },
    { path: '.gradle/gradle.properties', content: gradleProperties({ host, port }) },
  ];
  if (npm !== undefined) files.push({ path: '.npmrc', content: `registry=${npm}\n` });
  if (pypi !== undefined) {
    const trusted = pypi.startsWith('http://') ? `trusted-host = ${new URL(pypi).hostname}\n` : '';
    files.push({ path: '.config/pip/pip.conf', content: `[global]\nindex-url = ${pypi}\n${trusted}` });
  }
  return files;
}

/** Maven asks its settings for a proxy, not the environment. */
function mavenSettings({ host, port }: ProxyAddress, mirror: string | undefined): string {
  const proxies = ['http', 'https'].map(
    (protocol) => `    <proxy>
      <id>${protocol}</id>
      <active>true</active>
      <protocol>${protocol}</protocol>
      <host>${host}</host>
      <port>${port}</port>
      <nonProxyHosts>localhost|127.0.0.1</nonProxyHosts>
    </proxy>
`,
  );
  const mirrors =
    mirror === undefined
      ? ''
      : `  <mirrors>
    <mirror>
      <id>mirror</id>
      <mirrorOf>central</mirrorOf>
      <url>${escapeXml(mirror)}</url>
    </mirror>
  </mirrors>
`;
  return `<settings>\n  <proxies>\n${proxies.join('')}  </proxies>\n${mirrors}</settings>\n`;
}

function gradleProperties({ host, port }: ProxyAddress): string {
  return ['http', 'https']
    .map((scheme) => `systemProp.${scheme}.proxyHost=${host}\nsystemProp.${scheme}.proxyPort=${port}\n`)
    .join('');
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
