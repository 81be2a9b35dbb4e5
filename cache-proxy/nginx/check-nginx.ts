import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type NginxVerdict =
  | { readonly kind: 'good' }
  /** nginx' own words; places in them count lines of the text. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** There is no nginx on this machine (or on its PATH). */
  | { readonly kind: 'absent' };

/** Most of what nginx says that is kept. */
const maxOutput = 64 * 1024;

/**
 * Asks the nginx of this machine whether it could run with this configuration, without starting anything: `nginx -t`. It also opens the
 * files that are named in it (certificates, folders), and makes its temporary folders. Errors: when it neither answers nor ends in 30 s.
 */
export async function checkNginx(text: string, program = 'nginx'): Promise<NginxVerdict> {
  const folder = await mkdtemp(join(tmpdir(), 'brickyard-front-'));
  try {
    const file = join(folder, 'nginx.conf');
    await writeFile(file, text, { mode: 0o600 });
    const child = spawn(program, ['-t', '-q', '-c', file, '-p', folder], {
      stdio: ['ignore', 'ignore', 'pipe'],
      // Programs of /usr/sbin are not on every user's path.
      env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin` },
      timeout: 30_000,
    });
    let output = '';
    child.stderr.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-maxOutput);
    });
    const [code] = (await Promise.race([
      once(child, 'close'),
      once(child, 'error').then(([error]: unknown[]) => Promise.reject(error as Error)),
    ])) as [number | null];
    if (code === 0) return { kind: 'good' };
    if (code === null) throw new Error('nginx -t did not end');
    return { kind: 'refused', reason: output.replaceAll(file, 'nginx.conf').trim() };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { kind: 'absent' };
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
