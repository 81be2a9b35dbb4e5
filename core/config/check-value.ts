import type { SettingSchema, ValueFault } from './settings.ts';

/** The parts of a setting's check that are no JSON Schema: is it there in this version, and does it make sense. */
export function checkValue(
  value: unknown,
  schema: SettingSchema,
  part: 'availability' | 'meaning',
): readonly ValueFault[] {
  if (part === 'meaning') return schema['x-check']?.(value as never) ?? [];
  const whole = schema['x-unavailable'];
  if (whole !== undefined) return [{ path: [], message: whole }];
  const names = schema['x-unavailable-values'] ?? {};
  const message = typeof value === 'string' && Object.hasOwn(names, value) ? names[value] : undefined;
  return message === undefined ? [] : [{ path: [], message }];
}
