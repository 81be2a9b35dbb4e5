import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** File in the pool's folder that holds the key of the agent's commands; only who may read it can purge and warm. */
export function agentKeyFile(folder: string): string {
  return join(folder, 'agent-key');
}

/** The key of the agent's commands, which is made where there is none. Errors: those of the file system. */
export async function makeAgentKey(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const file = agentKeyFile(folder);
  try {
    await writeFile(file, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return readAgentKey(folder);
}

/** Errors: those of the file system; Error when the file holds none. */
export async function readAgentKey(folder: string): Promise<string> {
  const file = agentKeyFile(folder);
  const key = (await readFile(file, 'utf8')).trim();
  if (key.length < 40)
    throw new Error(`${file} holds no key; remove it, and "brickyard serve pool" makes another`);
  return key;
}
