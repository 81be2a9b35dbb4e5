import { expect } from 'vitest';

/** Files that share a worker share what `expect` knows, and vitest runs this for each of them. */
const known = Symbol.for('brickyard.test.equal-bytes');

// `toEqual` compares byte by byte, and asks for the names of all bytes first: tens of milliseconds for each layer that a test pushes.
if (!(known in globalThis)) {
  Object.assign(globalThis, { [known]: true });
  expect.addEqualityTesters([(a, b) => (Buffer.isBuffer(a) && Buffer.isBuffer(b) ? a.equals(b) : undefined)]);
}
