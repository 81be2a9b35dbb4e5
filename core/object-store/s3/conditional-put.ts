import { PreconditionFailed, type PutOptions } from '../object-store.ts';
import { type EtagSpeller, spellEtag } from './etag-spelling.ts';
import { isFailure } from './failure.ts';
import type { Requests, Wire, WirePut } from './requests.ts';

export interface ConditionalPutDeps {
  readonly wire: Wire;
  readonly requests: Requests;
  readonly speller: EtagSpeller;
}

/**
 * Without a condition: sent until it is through. With one: sent once, because a second sending could be refused on account of the first, and
 * only the caller, who knows the nonce in the body, can tell.
 * Errors: PreconditionFailed = nothing was written. ObjectStoreUnavailable = outcome unknown.
 */
export async function conditionalPut(
  deps: ConditionalPutDeps,
  path: string,
  body: Uint8Array,
  { ifNoneMatch, ifMatch }: PutOptions,
): Promise<{ etag: string }> {
  const { speller } = deps;
  if (ifMatch === undefined) {
    return sent(deps, path, body, ifNoneMatch === undefined ? {} : { ifNoneMatch });
  }
  // As they are now: another write may find out meanwhile, and this one still has to try the other spelling.
  const { candidates } = speller;
  for (const [index, spelling] of candidates.entries()) {
    try {
      const result = await sent(deps, path, body, { ifMatch: spellEtag(ifMatch, spelling) });
      speller.learn(spelling);
      return result;
    } catch (error) {
      const refused = error instanceof PreconditionFailed;
      // What the store says to a spelling it does not know counts only where it knows no other.
      if (index > 0 && isFailure(error, 'refused')) throw lost(error);
      if (!refused || index + 1 >= candidates.length) throw error;
    }
  }
  throw new Error('an ETag has at least one spelling');
}

async function sent(
  { wire, requests }: ConditionalPutDeps,
  path: string,
  body: Uint8Array,
  condition: WirePut,
): Promise<{ etag: string }> {
  const once = condition.ifMatch !== undefined || condition.ifNoneMatch !== undefined;
  try {
    const etag = await requests.run('put', 'writing', () => wire.put(path, body, condition), {
      once,
      sentBytes: body.length,
    });
    return { etag };
  } catch (error) {
    // 404 = the object that should match is not there.
    if (isFailure(error, 'precondition', 'missing')) throw lost(error);
    throw error;
  }
}

function lost(cause: unknown): PreconditionFailed {
  return new PreconditionFailed('the condition of the write did not hold', { cause });
}
