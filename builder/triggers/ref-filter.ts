import { compileGlob } from '../plan/glob.ts';
import type { Trigger } from './trigger.ts';

/** Whether a trigger has anything to do with a ref: its branches, its tags, and, where it takes them, pull requests. */
export function createRefFilter(
  trigger: Pick<Trigger, 'branches' | 'tags' | 'forks'>,
): (ref: string) => boolean {
  const branches = trigger.branches.map(compileGlob);
  const tags = trigger.tags.map(compileGlob);
  return (ref) => {
    if (ref.startsWith('refs/heads/'))
      return branches.some((glob) => glob.matches(ref.slice('refs/heads/'.length)));
    if (ref.startsWith('refs/tags/'))
      return tags.some((glob) => glob.matches(ref.slice('refs/tags/'.length)));
    return trigger.forks === 'build' && /^refs\/(?:pull|merge-requests)\/\d{1,9}\/head$/.test(ref);
  };
}
