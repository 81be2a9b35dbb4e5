const sizeUnits: Readonly<Record<string, number>> = {
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
};

const timeUnits: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Bytes of `8m` or `2000g`, by powers of 1024; undefined for anything else, also for a number alone. */
export function parsePoolSize(text: string): number | undefined {
  const [, digits, unit = ''] = /^([1-9][0-9]{0,6})([kmgt])$/.exec(text) ?? [];
  const factor = sizeUnits[unit];
  return digits === undefined || factor === undefined ? undefined : Number(digits) * factor;
}

/** Milliseconds of `90s`, `15m`, `24h` or `60d`; undefined for anything else. */
export function parsePoolTime(text: string): number | undefined {
  const [, digits, unit = ''] = /^([1-9][0-9]{0,5})([smhd])$/.exec(text) ?? [];
  const factor = timeUnits[unit];
  return digits === undefined || factor === undefined ? undefined : Number(digits) * factor;
}

/** Minutes since midnight of `22:30-06:00`; undefined for anything else, also for a window without a minute in it. */
export function parseTimeWindow(text: string): { from: number; to: number } | undefined {
  const match = /^([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])$/.exec(text);
  if (match === null) return undefined;
  const [fromHour = 0, fromMinute = 0, toHour = 0, toMinute = 0] = match.slice(1).map(Number);
  const from = fromHour * 60 + fromMinute;
  const to = toHour * 60 + toMinute;
  return to > 1440 || from === to ? undefined : { from, to };
}

/**
 * Bytes of the pieces of layers where a pool does not say: 8 MiB, and less on links that carry less than 8 MiB in 0.2 s, down to 512 KiB. With nginx all nodes
 * but one see a layer's first byte when its first piece is there whole, and clients fetch several layers at once: with 8 MiB at 100 Mbit/s that is 2 to 3 s.
 */
export function defaultSlice(downMbps: number): number {
  const carried = downMbps * 1e6 * (0.2 / 8);
  const fitting = 2 ** Math.floor(Math.log2(carried));
  return Math.min(8 * 1024 ** 2, Math.max(512 * 1024, fitting));
}
