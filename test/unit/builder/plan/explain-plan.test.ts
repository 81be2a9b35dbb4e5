import { expect, it } from 'vitest';
import { explainPlan } from '../../../../builder/plan/explain-plan.ts';
import { buildKey } from '../../../../builder/plan/plan-key.ts';
import { planOf } from './plan-fixture.ts';

const text =
  'appname: shop\nbase: nodejs:26\nbuild: {commands: ["a\\nb"], outputs: {d: /home/shop/d}}\nentrypoints: {web: {cmd: node "a b", ports: ["80/http"]}, job: {cmd: j, user: root}}\n';

it('explainPlan says in lines what a build does', async () => {
  const plan = await planOf(text);
  const lines = explainPlan(plan, { sourceKey: 'tree:1' }).split('\n');

  expect(lines).toEqual(
    expect.arrayContaining([
      'image      team/shop',
      'build in   nodejs:26, network open, at most 900 s',
      '  run      a ⏎ b',
      '  take     d → /home/shop/d',
      "role*      web: node 'a b' [80/http]",
      'role       job: j as root',
      'env        APP_NAME HOME',
      `build key  ${buildKey(plan, 'tree:1')}`,
    ]),
  );
});

it('buildKey changes with the source, the base and every value of the plan', async () => {
  const plan = await planOf(text);
  const keys = [
    buildKey(plan, 'a'),
    buildKey(plan, 'b'),
    buildKey({ ...plan, environment: { A: '1' } }, 'a'),
    buildKey(
      {
        ...plan,
        base: { ...plan.base, digest: plan.base.digest.replace(/.$/, '0') as typeof plan.base.digest },
      },
      'a',
    ),
  ];

  expect(buildKey(await planOf(text), 'a')).toBe(keys[0]);
  expect(new Set(keys).size).toBe(keys.length);
});
