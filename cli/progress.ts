import cliProgress from 'cli-progress';

/** Shows long steps: bars on a terminal, one line per step elsewhere, always on stderr. */
export interface Progress {
  /** Told as often as one likes; `total` undefined or 0 = length unknown. A step ends when `done` reaches `total`, or with `finish`. */
  update(step: string, done: number, total?: number): void;
  /** Ends a step, with a word on the outcome. */
  finish(step: string, outcome?: string): void;
  /** Ends all bars; call it before anything else is printed. */
  close(): void;
}

export function createProgress(stream: NodeJS.WriteStream): Progress {
  return stream.isTTY ? barProgress(stream) : lineProgress((line) => stream.write(`${line}\n`));
}

function barProgress(stream: NodeJS.WriteStream): Progress {
  const bars = new cliProgress.MultiBar(
    {
      stream,
      hideCursor: true,
      clearOnComplete: false,
      format: ' {bar} {percentage}%  {step}  {outcome}',
      barsize: 24,
    },
    cliProgress.Presets.shades_classic,
  );
  const running = new Map<string, cliProgress.SingleBar>();
  const bar = (step: string, total: number): cliProgress.SingleBar => {
    const known = running.get(step);
    if (known !== undefined) return known;
    const made = bars.create(total, 0, { step, outcome: '' });
    running.set(step, made);
    return made;
  };
  return {
    update(step, done, total) {
      const shown = bar(step, total ?? 100);
      if (total !== undefined && total > 0) shown.setTotal(total);
      shown.update(Math.min(done, shown.getTotal()), { step, outcome: '' });
    },
    finish(step, outcome = 'done') {
      const shown = bar(step, 1);
      shown.update(shown.getTotal(), { step, outcome });
      shown.stop();
      running.delete(step);
    },
    close: () => bars.stop(),
  };
}

/** Where nobody watches a bar move (CI, a file): a line when a step begins, at each quarter, and when it ends. */
export function lineProgress(write: (line: string) => void): Progress {
  const quarters = new Map<string, number>();
  return {
    update(step, done, total) {
      const known = quarters.get(step);
      if (known === undefined) write(`${step} …`);
      const quarter = total === undefined || total === 0 ? 0 : Math.min(3, Math.floor((done / total) * 4));
      if (known !== undefined && quarter > known) write(`${step} ${quarter * 25} %`);
      quarters.set(step, Math.max(quarter, known ?? 0));
    },
    finish(step, outcome = 'done') {
      write(`${step}: ${outcome}`);
      quarters.delete(step);
    },
    close() {},
  };
}
