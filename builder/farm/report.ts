import type { EngineResult } from '../engines/engine.ts';
import type { BuildPlan } from '../plan/plan.ts';

/** `512 B`, `12.3 KB`, `148 MB`: three digits are enough for people. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes;
  let unit = 'B';
  for (unit of ['KB', 'MB', 'GB', 'TB']) {
    value /= 1000;
    if (value < 999.5) break;
  }
  return `${value < 99.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** `12 ms`, `1.2 s`, `2 min 5 s`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** One finished step: `  ✓ plan      nodejs:26, web, worker            3 ms`. */
export function formatStep(name: string, detail: string, milliseconds: number, mark = '✓'): string {
  return `  ${mark} ${name.padEnd(9)} ${detail.padEnd(52)} ${formatDuration(milliseconds).padStart(8)}`;
}

export function describePlan(plan: BuildPlan): string {
  const roles = plan.roles.map((role) => {
    const ports = role.ports.map(({ port }) => `:${port}`).join(' ');
    return ports === '' ? role.name : `${role.name} ${ports}`;
  });
  return `${plan.base.name} → ${roles.join(', ')}`;
}

export function describeLayers(result: EngineResult): string {
  const parts: string[] = [];
  const add = (verb: string, layers: number, bytes: number): void => {
    if (layers > 0)
      parts.push(`${layers} ${layers === 1 ? 'layer' : 'layers'} ${verb} ${formatBytes(bytes)}`);
  };
  add('mounted', result.mountedLayers, result.mountedBytes);
  add('skipped', result.skippedLayers, result.skippedBytes);
  add('stored', result.storedLayers, result.storedBytes);
  return parts.length === 0 ? 'nothing to store' : parts.join(', ');
}
