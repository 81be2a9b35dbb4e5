import { UserError } from '../../core/user-error.ts';

/** Errors: UserError for what no build can be called. */
export function checkBuildId(id: string): string {
  if (/^[0-9a-f-]{36}$/.test(id)) return id;
  throw new UserError(`"${id}" is no build's id; "brickyard builds ls" lists them`, { exitCode: 2 });
}
