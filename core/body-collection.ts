/**
 * V8 frees the 64 KiB buffers that bodies arrive in when it collects its young objects, but starts that by the size of those objects,
 * which are tiny: before they fill their space, the buffers behind them pass a limit that makes it mark the whole heap instead, ten times
 * and more for a layer of 300 MB (a third of the CPU time of a push). Collecting the young ones every few megabytes of body costs next to nothing.
 */
const everyBytes = 4 * 1024 * 1024;

/**
 * To be told of every chunk of a body that has arrived. Does nothing unless the process was started with `--expose-gc`.
 * `collect` is for tests.
 */
export function createBodyCollection(collect = exposedCollection()): (bytes: number) => void {
  if (collect === undefined) return () => {};
  let passed = 0;
  return (bytes) => {
    passed += bytes;
    if (passed < everyBytes) return;
    passed = 0;
    collect();
  };
}

function exposedCollection(): (() => void) | undefined {
  const { gc } = globalThis;
  return gc === undefined
    ? undefined
    : () => {
        gc({ type: 'minor' });
      };
}
