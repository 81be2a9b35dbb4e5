import { imageKey } from '../popularity/popularity.ts';
import type { PushedImage } from './candidates.ts';

/** The last pushes, those of each tag only once, for as long as they say something about pulls to come. */
export interface PushRecord {
  /** False: that is where the tag was known to point. */
  add(push: PushedImage): boolean;
  /** The newest last. */
  since(time: number): readonly PushedImage[];
}

/** A busy registry's pushes of some days; the oldest go first. */
const maxPushes = 5000;

export function createPushRecord(): PushRecord {
  const pushes = new Map<string, PushedImage>();
  return {
    add(push) {
      const key = `${push.ns ?? ''} ${push.repository}:${push.tag}`;
      const known = pushes.get(key);
      if (known !== undefined && imageKey(known) === imageKey(push)) return false;
      pushes.delete(key);
      pushes.set(key, push);
      const [oldest] = pushes.keys();
      if (pushes.size > maxPushes && oldest !== undefined) pushes.delete(oldest);
      return true;
    },
    since: (time) => [...pushes.values()].filter((push) => push.time >= time),
  };
}
