/** When something may be done, by the clock of one place. */
export interface MaintenanceWindow {
  /** Patterns of repositories, as in `auth.rules`. */
  readonly repositories: readonly string[];
  /** Days on which it opens; none = every day. */
  readonly days?: readonly Weekday[] | undefined;
  /** `HH:MM`. */
  readonly from: string;
  /** `HH:MM`; before `from`: on the next day. Equal: the whole day. */
  readonly to: string;
  /** IANA name, e.g. `Asia/Shanghai`. Default UTC. */
  readonly timezone?: string | undefined;
}

export const weekdays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export type Weekday = (typeof weekdays)[number];

const stepMs = 5 * 60_000;
const weekMs = 7 * 24 * 60 * 60_000;

/** Whether one of the windows is open at `now` (milliseconds since 1970). */
export function isOpen(windows: readonly MaintenanceWindow[], now: number): boolean {
  return windows.some((window) => clockOf(window)(now));
}

/** The next time, to five minutes, at which one of the windows is open; undefined: none ever is. */
export function nextOpening(windows: readonly MaintenanceWindow[], now: number): number | undefined {
  const clocks = windows.map(clockOf);
  const first = Math.ceil(now / stepMs) * stepMs;
  for (let time = first; time <= first + weekMs; time += stepMs) {
    if (clocks.some((open) => open(time))) return time;
  }
  return undefined;
}

/** A formatter is dear to make, so one serves all questions of a search. */
function clockOf({ days, from, to, timezone }: MaintenanceWindow): (now: number) => boolean {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: timezone ?? 'UTC',
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  const start = minutesOf(from);
  const end = minutesOf(to);
  const onDay = (day: number): boolean => {
    const name = weekdays[(day + 7) % 7];
    return days === undefined || days.length === 0 || (name !== undefined && days.includes(name));
  };
  return (now) => {
    const parts = new Map(format.formatToParts(now).map(({ type, value }) => [type, value]));
    const minutes = Number(parts.get('hour')) * 60 + Number(parts.get('minute'));
    const day = weekdays.indexOf((parts.get('weekday') ?? '').toLowerCase() as Weekday);
    if (start < end) return onDay(day) && minutes >= start && minutes < end;
    return (onDay(day) && minutes >= start) || (start !== end && onDay(day - 1) && minutes < end);
  };
}

function minutesOf(time: string): number {
  const [hours = '', minutes = ''] = time.split(':');
  return Number(hours) * 60 + Number(minutes);
}
