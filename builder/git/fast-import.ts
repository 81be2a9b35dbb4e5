import type { Readable, Writable } from 'node:stream';
import { startGit } from './git-process.ts';

/** Files on their way into one commit. */
export interface CommitWriter {
  /** Takes `body`, which must have `size` bytes. The number stands for this content in `place`. Contents are given one after another. */
  content(size: number, body: AsyncIterable<Uint8Array>): Promise<number>;
  /**
   * `path`: relative, raw bytes as latin1, checked before; a later place at the same path takes the earlier one's. A symbolic link's
   * content is its target.
   */
  place(path: string, kind: 'file' | 'executable' | 'symlink', content: number): void;
}

/** One `git fast-import`, which makes a pack of what it is given, in bounded memory. */
export interface FastImport extends CommitWriter {
  /** Writes the commit with everything that was placed and finishes the pack. Returns the commit's id. */
  commit(options: { author: string; seconds: number; message: string }): Promise<string>;
  /** Ends git, also in the middle; harmless after `commit`. */
  close(): Promise<void>;
}

const modes = { file: '100644', executable: '100755', symlink: '120000' } as const;

/** `repository`: a bare one that the pack is written into; its refs change too. Errors of all methods: git ended early. */
export function startFastImport(options: {
  repository: string;
  environment: Record<string, string>;
}): FastImport {
  const settings = [
    // What is packed is mostly packed already (jars, images): trying harder costs seconds and saves little.
    'pack.compression=1',
    // Larger contents go to the pack as they come instead of being held.
    'core.bigFileThreshold=1m',
  ];
  const git = startGit(
    settings
      .flatMap((setting) => ['-c', setting])
      .concat('fast-import', '--quiet', '--done', '--date-format=raw', '--depth=0'),
    {
      environment: { ...options.environment, GIT_DIR: options.repository },
      cwd: options.repository,
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  const stdin = git.child.stdin as Writable;
  const stdout = git.child.stdout as Readable;
  // A git that ended is told of by its exit code.
  stdin.on('error', () => {});
  const lines: string[] = [];
  const places: string[] = [];
  let marks = 0;

  async function endedEarly(): Promise<Error> {
    const code = await git.exited;
    return new Error(`git fast-import ended early (${code}): ${git.stderr()}`);
  }

  async function write(bytes: Uint8Array): Promise<void> {
    if (stdin.destroyed) throw await endedEarly();
    if (stdin.write(bytes)) return;
    await new Promise<void>((resolve) => {
      const go = (): void => {
        stdin.off('drain', go);
        stdin.off('close', go);
        resolve();
      };
      stdin.on('drain', go);
      stdin.on('close', go);
    });
    if (stdin.destroyed) throw await endedEarly();
  }

  return {
    async content(size, body) {
      marks += 1;
      await write(Buffer.from(`blob\nmark :${marks}\ndata ${size}\n`));
      let left = size;
      for await (const chunk of body) {
        left -= chunk.length;
        // More would be read as commands.
        if (left < 0) break;
        await write(chunk);
      }
      if (left !== 0) throw new RangeError(`a content is not ${size} bytes long`);
      await write(Buffer.from('\n'));
      return marks;
    },
    place(path, kind, content) {
      places.push(`M ${modes[kind]} :${content} ${quoted(path)}\n`);
    },
    async commit({ author, seconds, message }) {
      const text = Buffer.from(message);
      marks += 1;
      const head = `commit refs/heads/import\nmark :${marks}\ncommitter ${author} ${seconds} +0000\ndata ${text.length}\n`;
      await write(Buffer.concat([Buffer.from(head), text, Buffer.from('\n')]));
      for (let at = 0; at < places.length; at += 1000) {
        await write(Buffer.from(places.slice(at, at + 1000).join(''), 'latin1'));
      }
      await write(Buffer.from(`\nget-mark :${marks}\ndone\n`));
      stdin.end();
      for await (const chunk of stdout.setEncoding('latin1') as AsyncIterable<string>) lines.push(chunk);
      const code = await git.exited;
      const id = lines.join('').trim();
      if (code !== 0 || !/^[0-9a-f]{40}$/.test(id)) throw await endedEarly();
      return id;
    },
    async close() {
      git.child.kill();
      await git.exited.catch(() => {});
    },
  };
}

/** A path as fast-import reads it (git-fast-import(1), "filemodify"): in quotes, so that no byte of it ends the line. */
function quoted(path: string): string {
  const escaped = path.replace(/["\\\p{Cc}]/gu, (byte) =>
    byte === '"' || byte === '\\' ? `\\${byte}` : `\\${byte.charCodeAt(0).toString(8).padStart(3, '0')}`,
  );
  return `"${escaped}"`;
}
