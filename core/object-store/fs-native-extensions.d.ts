// The package brings no types of its own; only what locks.ts uses.
declare module 'fs-native-extensions' {
  /** False when another open file description holds a lock on it. */
  export function tryLock(fd: number): boolean;
  export function unlock(fd: number): void;
}
