import { describe, expect, it } from 'vitest';
import { keyWithSecrets, withSecrets } from '../../../../builder/farm/with-secrets.ts';
import type { BuildPlan } from '../../../../builder/plan/plan.ts';
import { SecretsLocked } from '../../../../builder/secrets/secret-store.ts';
import { JobFailed } from '../../../../core/queue/job-queue.ts';
import { planOf } from '../plan/plan-fixture.ts';

const token = 's3cr3t-value';
const request = { team: 'team', app: 'app' };
const secrets = { open: async () => new Map([['npm', Buffer.from(token)]]) };

function planWith(step: string): Promise<BuildPlan> {
  return planOf(`appname: app\nbase: nodejs:26\n${step}entrypoints: {web: {cmd: node x}}\n`);
}

function recorder() {
  const lines: string[] = [];
  const kept: { path: string; content: Buffer }[] = [];
  const told = {
    write: (line: string) => void lines.push(line),
    artifacts: { add: async (more: readonly { path: string; content: Buffer }[]) => void kept.push(...more) },
  };
  return { lines, kept, told };
}

const withNpm = 'build: {commands: [x], secrets: [npm]}\n';

describe('row 22: while a build has secrets', () => {
  it('nothing that it writes, keeps or fails with holds one', async () => {
    const { lines, kept, told } = recorder();
    const plan = await planWith(withNpm);

    const failed = withSecrets({ secrets, request, plan, told }, async (given, { write, artifacts }) => {
      expect(given?.values.get('npm')?.toString()).toBe(token);
      write(`got ${token}`);
      await artifacts.add([{ path: `${token}.xml`, content: Buffer.from(`<a>${token}</a>`) }]);
      throw new JobFailed(`no file ${token}`);
    });

    await expect(failed).rejects.toThrow(new JobFailed('no file ***'));
    expect(lines).toEqual(['got ***']);
    expect(kept).toEqual([{ path: '***.xml', content: Buffer.from('<a>***</a>') }]);
  });

  it('a source that is not trusted gets none, and the log says so', async () => {
    const { lines, told } = recorder();
    const plan = await planWith(withNpm);

    const given = await withSecrets(
      { secrets, request: { ...request, trusted: false }, plan, told },
      async (found) => found,
    );

    expect(given).toBeUndefined();
    expect(lines).toEqual(['  ! npm: secrets are not given to builds of what forks propose']);
  });

  it('secrets that cannot be read are told of once and not tried again', async () => {
    const locked = { open: () => Promise.reject(new SecretsLocked('no key')) };
    const input = { secrets: locked, request, plan: await planWith(withNpm), told: recorder().told };

    await expect(withSecrets(input, async () => 'done')).rejects.toThrow(new JobFailed('no key'));
  });

  it('where none are named nobody is asked', async () => {
    const never = { open: () => Promise.reject(new Error('asked')) };
    const input = { secrets: never, request, plan: await planWith('test: [x]\n'), told: recorder().told };

    expect(await withSecrets(input, async (found) => found)).toBeUndefined();
  });
});

it('row 23: the key of a result changes with a secret that it uses, and with nothing else', async () => {
  const of = (version: string, trusted = true) => ({
    secrets: { versions: async () => ({ npm: version }) },
    request: { ...request, trusted },
  });
  const plan = await planWith('test: {commands: [x], secrets: [npm]}\n');
  const key = await keyWithSecrets('tree', { ...of('1'), plan });

  expect(await keyWithSecrets('tree', { ...of('1'), plan })).toBe(key);
  expect(await keyWithSecrets('tree', { ...of('2'), plan })).not.toBe(key);
  expect(await keyWithSecrets('tree', { ...of('1', false), plan })).not.toBe(key);
  expect(await keyWithSecrets('tree', { ...of('1'), plan: await planWith('') })).toBe('tree');
});
