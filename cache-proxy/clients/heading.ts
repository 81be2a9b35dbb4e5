import type { ClientPool } from './client-setup.ts';

/** The first lines of each file that is made for a pool: what it is for and who made it. All are comments with `#`. */
export function heading(pool: ClientPool, what: string, options = ''): string[] {
  const command = `brickyard pool clients ${pool.name}${options}`;
  return [
    `# brickyard pool ${pool.name}: ${what}`,
    `# Made by "${command}": change pools.yaml, not this file.`,
  ];
}
