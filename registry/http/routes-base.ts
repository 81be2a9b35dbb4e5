import { OciError } from '../../oci/errors.ts';
import { answerJson, type Call } from './call.ts';

/**
 * end-1  GET /v2/
 *
 * `docker login` asks here, without credentials to learn how to sign in and with them to learn whether they are good.
 * So where accounts exist nobody in particular gets 401, even if some repositories can be pulled without an account.
 */
export async function ping(call: Call<'base'>, signInRequired: boolean): Promise<void> {
  if (signInRequired && call.request.headers.authorization === undefined) throw new OciError('UNAUTHORIZED');
  answerJson(call, [], '{}');
}
