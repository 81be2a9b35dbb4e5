import { userInfo } from 'node:os';
import { join } from 'node:path';
import { brickyard } from './brickyard-command.ts';
import { freePort } from './free-port.ts';
import { startNginx, type TestNginx } from './nginx.ts';
import { createTempDirectory } from './temp.ts';

export interface TestFront extends AsyncDisposable {
  /** `http://127.0.0.1:<port>`, or https where it has a certificate. */
  readonly url: string;
  readonly nginx: TestNginx;
  stop(): Promise<void>;
}

/** nginx as `brickyard front render --check` configures it. `env`: what the replicas are configured with, and `BRICKYARD_FRONT_…`. */
export async function startFront(
  replicas: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<TestFront> {
  const folder = await createTempDirectory('front');
  const port = await freePort();
  const { code, stdout, stderr } = await brickyard(['front', 'render', '--check'], {
    home: folder.path,
    env: {
      ...env,
      BRICKYARD_FRONT_LISTEN: `127.0.0.1:${port}`,
      BRICKYARD_FRONT_FOLDER: folder.path,
      BRICKYARD_FRONT_REPLICAS: replicas.map((url) => new URL(url).host).join(','),
      // The test's folders are its own user's; by itself nginx would have another user's workers.
      BRICKYARD_FRONT_USER: userInfo().username,
      ...(env['BRICKYARD_STORE_TYPE'] === 's3' && env['BRICKYARD_FRONT_CACHE_FOLDER'] === undefined
        ? { BRICKYARD_FRONT_CACHE_FOLDER: join(folder.path, 'cache') }
        : {}),
    },
  });
  if (code !== 0) throw new Error(`front render ended with ${code}\n${stderr}`);
  const scheme = env['BRICKYARD_FRONT_TLS_CERTIFICATE'] === undefined ? 'http' : 'https';
  const nginx = await startNginx({ config: stdout, folder: folder.path, port });
  const stop = async (): Promise<void> => {
    await nginx.stop();
    await folder.remove();
  };
  return { url: `${scheme}://127.0.0.1:${port}`, nginx, stop, [Symbol.asyncDispose]: stop };
}
