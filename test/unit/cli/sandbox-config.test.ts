import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { sandboxLimits } from '../../../builder/engines/docker/sandbox-limits.ts';
import { readConfig } from '../../../cli/config.ts';
import { sandboxOptions } from '../../../cli/sandbox-config.ts';

const cwd = mkdtempSync(join(tmpdir(), 'brickyard-test-'));

afterAll(() => {
  rmSync(cwd, { recursive: true });
});

function read(env: Record<string, string>) {
  return readConfig({ env, cwd }).builder.sandbox;
}

it('says by default what the engine does by default', () => {
  const { outputs: _, artifacts: __, ...limits } = sandboxLimits;

  expect(sandboxOptions(read({}))).toEqual({
    limits,
    egress: { allow: [], bytes: 20 * 1024 ** 3, mirrors: {} },
  });
});

it('hands limits, hosts, mirrors and the runtime over', () => {
  const options = sandboxOptions(
    read({
      BRICKYARD_BUILDER_SANDBOX_DISK: '1073741824',
      BRICKYARD_BUILDER_SANDBOX_RUNTIME: 'runsc',
      BRICKYARD_BUILDER_SANDBOX_EGRESS_ALLOW: '["nexus:8081"]',
      BRICKYARD_BUILDER_SANDBOX_MIRRORS_GO: 'https://nexus.example/go',
    }),
  );

  expect(options).toMatchObject({
    limits: { disk: 1024 ** 3 },
    runtime: 'runsc',
    egress: { allow: ['nexus:8081'], mirrors: { go: 'https://nexus.example/go' } },
  });
});

it.each([
  ['BRICKYARD_BUILDER_SANDBOX_EGRESS_ALLOW', '["*.com"]', 'must be host, host:port, *.domain or an address'],
  ['BRICKYARD_BUILDER_SANDBOX_MIRRORS_NPM', 'nexus', 'must be an address such as'],
  ['BRICKYARD_BUILDER_SANDBOX_MIRRORS_NPM', 'https://a:b@nexus/', 'must hold no user name or password'],
  ['BRICKYARD_BUILDER_SANDBOX_MIRRORS_NPM', 'http://127.0.0.1:4873/', 'must not lie on loopback'],
  ['BRICKYARD_BUILDER_SANDBOX_RUNTIME', 'run sc', 'must be the name of a runtime'],
  ['BRICKYARD_BUILDER_SANDBOX_MEMORY', '1', 'must be at least 16777216'],
])('refuses %s=%s', (name, value, message) => {
  expect(() => read({ [name]: value })).toThrow(message);
});
