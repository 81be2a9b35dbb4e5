import { describe, expect, it } from 'vitest';
import { createMetrics } from '../../../core/metrics.ts';

describe('numbers that are kept elsewhere', () => {
  it('are asked for at each scrape, and keep what they last were when nobody answers', async () => {
    const metrics = createMetrics();
    let answer: () => Promise<Record<string, number>> = async () => ({ freed_total: 5, last_run: 7 });
    metrics.readings({ freed_total: 'Bytes.', last_run: 'When.', never: 'Not given.' }, () => answer());

    const first = await metrics.render();
    expect(first).toContain('# TYPE freed_total counter');
    expect(first).toContain('freed_total 5');
    expect(first).toContain('last_run 7');
    answer = async () => ({ freed_total: 6 });
    expect(await metrics.render()).toContain('freed_total 6');
    answer = () => Promise.reject(new Error('no store'));

    const last = await metrics.render();

    expect(last).toContain('freed_total 6');
    expect(last).toContain('last_run 7');
  });
});
