import { parentPort } from 'node:worker_threads';
import { compareSync, hashSync } from 'bcryptjs';

/** Runs in a thread of its own: see `bcrypt.ts`. */
export type BcryptRequest =
  | { readonly id: number; readonly kind: 'compare'; readonly password: string; readonly hash: string }
  | { readonly id: number; readonly kind: 'hash'; readonly password: string; readonly cost: number };

export interface BcryptReply {
  readonly id: number;
  readonly value: boolean | string;
}

parentPort?.on('message', (request: BcryptRequest) => {
  const value =
    request.kind === 'compare'
      ? compareSync(request.password, request.hash)
      : hashSync(request.password, request.cost);
  parentPort?.postMessage({ id: request.id, value } satisfies BcryptReply);
});
