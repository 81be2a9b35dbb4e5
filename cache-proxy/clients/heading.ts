import type { ClientPool } from './client-setup.ts';

/** The first lines of each file that is made for a pool: what it is for, who made it, and how it goes away again. All are comments with `#`. */
export function heading(pool: ClientPool, what: string): string[] {
  return [
    `# brickyard pool ${pool.name}: ${what}`,
    `# Made by "brickyard pool clients ${pool.name}"; taken back by the same with --undo.`,
  ];
}
