import { describe, expect, it } from 'vitest';
import { createAppFileParser } from '../../../../builder/appfile/parse-appfile.ts';
import { createLintRoutes } from '../../../../builder/http/lint-routes.ts';
import type { Authenticator } from '../../../../core/auth/authenticator.ts';
import { anonymous } from '../../../../core/auth/authorizer.ts';
import { createHttpServer } from '../../../../core/http/http-server.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import { createMetrics } from '../../../../core/metrics.ts';

const good = 'appname: app\nbase: nodejs:26\nentrypoints:\n  web:\n    cmd: node server.js\n';

async function lint(
  text: string,
  options: { accept?: string; required?: boolean; defaultBase?: string } = {},
) {
  const { accept, required = false, defaultBase } = options;
  const authenticator: Authenticator = {
    required,
    identify: async () => ({ principal: anonymous, authorizer: { may: () => !required } }),
  };
  const http = createHttpServer({ log: createSilentLogger(), metrics: createMetrics() });
  await http.app.register(
    createLintRoutes({ parseAppFile: createAppFileParser(), defaultBase, authenticator, http }),
  );
  const answer = await http.app.inject({
    method: 'POST',
    url: '/api/v1/lint?file=services/pay/App.yaml',
    headers: { 'content-type': 'application/octet-stream', ...(accept === undefined ? {} : { accept }) },
    payload: text,
  });
  await http.app.close();
  return answer;
}

describe('POST /api/v1/lint', () => {
  it('finds nothing wrong with a good file', async () => {
    const answer = await lint(good);

    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({ file: 'services/pay/App.yaml', faults: [] });
  });

  it('tells the place of what is wrong, to programs and to people', async () => {
    const bad = good.replace('base:', 'bsae:');

    const answer = await lint(bad);
    const text = await lint(bad, { accept: 'text/plain' });

    expect(answer.statusCode).toBe(422);
    expect(answer.json()).toMatchObject({
      faults: expect.arrayContaining([expect.objectContaining({ line: 2, column: 1, severity: 'error' })]),
    });
    expect(text.statusCode).toBe(422);
    expect(text.headers['content-type']).toContain('text/plain');
    expect(text.body).toContain('services/pay/App.yaml:2:1 error');
  });

  it('misses a base image only where the server has none for such files', async () => {
    const bare = good.replace('base: nodejs:26\n', '');

    expect((await lint(bare)).statusCode).toBe(422);
    expect((await lint(bare, { defaultBase: 'base:12' })).statusCode).toBe(200);
  });

  it.each([
    ['nothing', ''],
    ['what is no text', '\u0000\u0001'],
    ['more than any App.yaml', `#${'x'.repeat(300 * 1024)}`],
  ])('answers to %s with a fault', async (_, text) => {
    const answer = await lint(text);

    expect(answer.statusCode).toBe(422);
    expect(answer.json<{ faults: unknown[] }>().faults.length).toBeGreaterThan(0);
  });

  it('is for those who sign in, where one has to', async () => {
    expect((await lint(good, { required: true })).statusCode).toBe(401);
  });
});
