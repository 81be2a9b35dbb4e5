import type { BaseImageProgress } from '../builder/catalog/level-context.ts';
import type { Progress } from './progress.ts';

const stepWords: Readonly<Record<Exclude<BaseImageProgress['step'], 'done'>, string>> = {
  download: 'fetching packages',
  unpack: 'laying out files',
  install: 'running static.sh',
  compress: 'compressing',
  push: 'pushing',
  test: 'trying',
};

/** Shows base images in the making. An entry's step ends when its next one begins, whatever was counted of it: what is cached is passed over. */
export function showBaseImages(progress: Progress): (event: BaseImageProgress) => void {
  /** By entry. Those that are left alone end without having begun. */
  const running = new Map<string, string>();
  return ({ name, step, done, total }) => {
    const title = step === 'done' ? undefined : `${name}: ${stepWords[step]}`;
    const before = running.get(name);
    if (before !== undefined && before !== title) progress.finish(before);
    if (title === undefined) {
      running.delete(name);
      return;
    }
    running.set(name, title);
    progress.update(title, done, total);
  };
}
