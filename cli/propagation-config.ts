import { weekdays } from '../builder/propagate/maintenance-window.ts';
import { compileRepositoryGlob } from '../core/auth/repository-glob.ts';
import type { ValueFault } from '../core/config/settings.ts';
import { Type } from '../core/type.ts';

const time = Type.String({ pattern: '^(?:[01]\\d|2[0-3]):[0-5]\\d$' });

/** How a changed base image reaches the apps on it; the part `builder.propagation` of `brickyard.yaml`. See docs/rebase.md. */
export const propagationSchema = Type.Object({
  mode: Type.Enum(['auto', 'manual'], {
    default: 'auto',
    description:
      '`auto`: when a channel of a base image moves, its apps follow. `manual`: when somebody says `brickyard base rebase`.',
  }),
  canary: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 1000,
    description: 'Apps that go first; the others follow only when those succeeded. 0 = all at once.',
  }),
  canaryWait: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 86_400,
    description: 'Seconds between the first apps and the others.',
  }),
  concurrency: Type.Integer({
    default: 8,
    minimum: 1,
    maximum: 64,
    description: 'Images that are rebased at the same time.',
  }),
  rebuilds: Type.Integer({
    default: 1,
    minimum: 1,
    maximum: 64,
    description:
      'Images that are built again at the same time; builds of pushes wait behind no more than these.',
  }),
  settle: Type.Integer({
    default: 60,
    minimum: 0,
    maximum: 86_400,
    description: 'Seconds that a channel must have stood still before its apps follow by themselves.',
  }),
  wavesPerHour: Type.Integer({
    default: 6,
    minimum: 1,
    maximum: 1000,
    description: 'How often in an hour the apps of one channel follow by themselves, however often it moves.',
  }),
  exclude: Type.Array(Type.String({ minLength: 1 }), {
    default: [],
    description:
      'Image repositories that never follow, unless `--app` names them; patterns as in `auth.rules`.',
    'x-check': (value: string[]) => value.flatMap((pattern, index) => checkPattern(pattern, [index])),
  }),
  /** A repository that no window names is always open. */
  windows: Type.Array(
    Type.Object(
      {
        repositories: Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }),
        days: Type.Optional(Type.Array(Type.Enum([...weekdays]), { minItems: 1 })),
        from: time,
        to: time,
        timezone: Type.Optional(Type.String()),
      },
      { additionalProperties: false },
    ),
    {
      default: [],
      description:
        'When image repositories may follow by themselves: `{repositories, days, from: "22:00", to: "04:00", timezone}`; default: always. As a variable: JSON.',
      'x-check': checkWindows,
    },
  ),
});

function checkWindows(
  windows: readonly { repositories: readonly string[]; timezone?: string }[],
): ValueFault[] {
  return windows.flatMap(({ repositories, timezone }, index) => [
    ...repositories.flatMap((pattern, at) => checkPattern(pattern, [index, 'repositories', at])),
    ...(timezone === undefined || isTimeZone(timezone)
      ? []
      : [{ path: [index, 'timezone'], message: `"${timezone}" is no time zone, such as Asia/Shanghai` }]),
  ]);
}

function checkPattern(pattern: string, path: readonly (string | number)[]): ValueFault[] {
  if (compileRepositoryGlob(pattern) !== undefined) return [];
  return [{ path, message: `"${pattern}" is no pattern over repository names` }];
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
