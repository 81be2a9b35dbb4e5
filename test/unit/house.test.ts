import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

/** Who may import whom; a room may always import itself. `test/` and `scripts/` may import anything and nothing imports them. */
const allowed: Record<string, readonly string[]> = {
  oci: [],
  core: [],
  registry: ['oci', 'core'],
  builder: ['oci', 'core'],
  'cache-proxy': ['oci', 'core'],
  console: ['oci', 'core'],
  cli: ['oci', 'core', 'registry', 'builder', 'cache-proxy', 'console'],
};

/** Each vendor package is touched by one file only, so that replacing it is one file's work. */
const vendorFiles: Record<string, readonly string[]> = {
  '@aws-sdk/client-s3': ['core/object-store/s3.ts'],
  bullmq: ['core/queue/bullmq.ts'],
  ioredis: ['core/redis/connect-redis.ts'],
  dockerode: ['builder/engines/docker.ts'],
  'nginx-conf': ['cache-proxy/nginx/render.ts'],
  'fs-native-extensions': ['core/object-store/locks.ts'],
};

const files = Object.keys(allowed).flatMap((room) => sourceFiles(join(root, room)));

describe('the house', () => {
  it.each(files)('%s imports only the rooms it may', (file) => {
    const room = file.split('/')[0] ?? '';

    const wrong = importsOf(file)
      .filter((specifier) => specifier.startsWith('.'))
      .map((specifier) => relative(root, resolve(root, dirname(file), specifier)).split('/')[0] ?? '')
      .filter((target) => target !== 'package.json')
      .filter((target) => target !== room && !(allowed[room] ?? []).includes(target));

    expect(wrong).toEqual([]);
  });

  it('keeps each vendor package in one file', () => {
    const wrong = files.flatMap((file) =>
      importsOf(file)
        .filter((specifier) => specifier in vendorFiles && !vendorFiles[specifier]?.includes(file))
        .map((specifier) => `${file} imports ${specifier}`),
    );

    expect(wrong).toEqual([]);
  });

  it('loads in no process what costs it 15 MB and more for what it does not use', () => {
    const wrong = files.filter((file) =>
      /^import (?!type\b)[^;]*? from '(?:typebox|node:http)';$/m.test(readFileSync(join(root, file), 'utf8')),
    );

    // core/type.ts and core/http/node-http.ts say what to import instead.
    expect(wrong).toEqual([]);
  });

  it('tells in every room what the room is', () => {
    const silent = Object.keys(allowed).filter((room) => {
      const lines = readFileSync(join(root, room, 'README.md'), 'utf8').split('\n');
      return lines.length < 5 || lines.length > 42;
    });

    expect(silent).toEqual([]);
  });
});

function sourceFiles(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return sourceFiles(path);
    return name.endsWith('.ts') ? [relative(root, path)] : [];
  });
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const pattern =
    /(?:^|\n)\s*(?:import|export)\b[^'";]*?from\s*'([^']+)'|import\(\s*'([^']+)'\s*\)|(?:^|\n)import\s+'([^']+)'/g;
  return [...text.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}
