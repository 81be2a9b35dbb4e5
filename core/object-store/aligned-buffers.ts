/** Sizes, positions and addresses of direct writes are multiples of this: no file system asks for more than a page. */
export const blockBytes = 4096;

/** A few buffers for writes past the page cache, which the kernel takes only from memory that begins at a page. */
export interface AlignedBuffers {
  /** Bytes of each buffer. */
  readonly size: number;
  /** Resolves when one is free, first come first served. */
  take(): Promise<Buffer>;
  give(buffer: Buffer): void;
}

/** Wasm memory's pages. */
const wasmPageBytes = 64 * 1024;

/**
 * `count` buffers of `size` bytes (a multiple of 64 KiB), made when first needed.
 * They lie in WebAssembly memory, the only memory whose alignment JavaScript can be sure of.
 */
export function createAlignedBuffers(size: number, count: number): AlignedBuffers {
  const free: Buffer[] = [];
  const waiting: ((buffer: Buffer) => void)[] = [];
  let made = 0;
  const make = (): Buffer => {
    made++;
    const pages = size / wasmPageBytes;
    return Buffer.from(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer);
  };
  return {
    size,
    async take() {
      const buffer = free.pop() ?? (made < count ? make() : undefined);
      return buffer ?? new Promise((resolve) => waiting.push(resolve));
    },
    give(buffer) {
      const next = waiting.shift();
      if (next === undefined) free.push(buffer);
      else next(buffer);
    },
  };
}
