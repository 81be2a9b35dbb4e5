import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface ChildProgram {
  /** The next line of its standard output, as JSON. Rejects with what it said on standard error when it ends instead. */
  nextLine(): Promise<unknown>;
  /** Resolves with the exit code; rejects never. */
  readonly ended: Promise<unknown>;
  kill(): Promise<void>;
}

/** Starts programs next to this file with the Node that runs the tests, and ends them all. */
export function createChildPrograms(): {
  start(file: string, args: string[], wrapper?: string[]): ChildProgram;
  killAll(): Promise<void>;
} {
  const started: ChildProgram[] = [];
  return {
    start(file, args, wrapper = []) {
      const [program = process.execPath, ...rest] = [
        ...wrapper,
        process.execPath,
        join(import.meta.dirname, file),
        ...args,
      ];
      const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
      const handle = createHandle(child);
      started.push(handle);
      return handle;
    },
    async killAll() {
      await Promise.all(started.splice(0).map((child) => child.kill()));
    },
  };
}

function createHandle(
  child: ChildProcess & { stdout: NodeJS.ReadableStream; stderr: NodeJS.ReadableStream },
): ChildProgram {
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += String(chunk);
  });
  const ended = once(child, 'close').then(([code]) => code as unknown);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    ended,
    async nextLine() {
      const { done, value } = await lines.next();
      if (done === true) throw new Error(`the child ended: ${errors}`);
      return JSON.parse(value);
    },
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
