#!/usr/bin/env node
// Plain JavaScript on purpose: an old Node must get as far as a clear message, and a published package cannot be `.ts`.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module, { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const wanted = [22, 18];
const root = dirname(dirname(fileURLToPath(import.meta.url)));

function isNewEnough(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > wanted[0] || (major === wanted[0] && minor >= wanted[1]);
}

/** The `node` that npm installed beside us, when the one that started us is too old. */
function bundledNode() {
  const candidates = [
    join(root, 'node_modules', '.bin', 'node'),
    join(root, 'node_modules', 'node', 'bin', 'node'),
  ];
  try {
    candidates.push(
      join(dirname(createRequire(import.meta.url).resolve('node/package.json')), 'bin', 'node'),
    );
  } catch {
    // Not installed: the message below says what to do.
  }
  return candidates.find((path) => existsSync(path) && path !== process.execPath);
}

/** Keeps compiled code beside the program, for its children as well: they start three times as fast and need a third less memory. */
function keepCompiledCode() {
  const folder = join(root, 'node_modules', '.cache', 'brickyard', 'compiled');
  const { directory } = module.enableCompileCache(process.env.NODE_COMPILE_CACHE ?? folder);
  // Undefined where the folder cannot be written: then nothing is kept.
  if (directory !== undefined) process.env.NODE_COMPILE_CACHE ??= folder;
}

if (isNewEnough(process.versions.node)) {
  keepCompiledCode();
  const compiled = join(root, 'dist', 'cli', 'main.js');
  const source = join(root, 'cli', 'main.ts');
  const entry = existsSync(source) ? source : compiled;
  const { main } = await import(pathToFileURL(entry).href);
  await main(process.argv.slice(2));
} else {
  const node = bundledNode();
  if (node === undefined) {
    process.stderr.write(
      `brickyard needs Node ${wanted.join('.')} or newer; this is ${process.versions.node}.\n` +
        'Install a newer Node, or run `npm ci` in the project: it brings one along.\n',
    );
    process.exit(1);
  }
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + (constants.signals[signal] ?? 0);
  });
}
