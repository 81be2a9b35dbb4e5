/** What the owners of a base image say of its end; from its manifest's annotation `org.brickyard.base.deprecation`. */
export interface Deprecation {
  /** `warn`: builds say so · `block-new`: no first image on it · `block`: no image on it. */
  readonly level: 'warn' | 'block-new' | 'block';
  /** Day from which the level counts, `2026-01-31`. Default: already. */
  readonly since?: string;
  /** Day from which `block` counts whatever the level says. Default: never. */
  readonly sunset?: string;
  /** `name:channel` of what to use instead. */
  readonly replacement?: string;
}

/** Undefined when there is none, or when it cannot be understood: a base that no build can read would stop them all. */
export function parseDeprecation(annotation: unknown): Deprecation | undefined {
  if (typeof annotation !== 'string' || annotation.length > 4096) return undefined;
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(annotation) as Record<string, unknown>;
  } catch {
    return undefined;
  }
  const level = (['warn', 'block-new', 'block'] as const).find((known) => known === value?.['level']);
  if (level === undefined) return undefined;
  const text = (key: string, pattern: RegExp): Record<string, string> => {
    const found = value[key];
    return typeof found === 'string' && pattern.test(found) ? { [key]: found } : {};
  };
  return {
    level,
    ...text('since', /^\d{4}-\d\d-\d\d$/),
    ...text('sunset', /^\d{4}-\d\d-\d\d$/),
    ...text('replacement', /^[a-z0-9][a-z0-9._/-]{0,127}(?::[A-Za-z0-9._-]{1,128})?$/),
  };
}

/** What counts on `day`; undefined = nothing yet. */
export function levelOn(
  day: string,
  { level, since, sunset }: Deprecation,
): Deprecation['level'] | undefined {
  if (sunset !== undefined && day >= sunset) return 'block';
  return since !== undefined && day < since ? undefined : level;
}

/** `nodejs:20 is deprecated since 2026-01-01 and ends on 2026-12-31`. */
export function describeDeprecation(name: string, { since, sunset }: Deprecation): string {
  const from = since === undefined ? '' : ` since ${since}`;
  const until = sunset === undefined ? '' : ` and ends on ${sunset}`;
  return `the base image ${name} is deprecated${from}${until}`;
}
