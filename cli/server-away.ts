import { UserError } from '../core/user-error.ts';

/** Nobody answered, or somebody who cannot at the moment: another attempt may do better. */
export class ServerAway extends UserError {}
