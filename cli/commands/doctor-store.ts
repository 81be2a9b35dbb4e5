import { probeStore } from '../../core/object-store/probe.ts';
import type { Config } from '../config.ts';
import { openStore, type ServerStore } from '../serve/open-store.ts';
import type { Finding } from './doctor.ts';

/** Reads, lists, and tries on keys of its own what the store does with conditional writes. */
export async function storeFindings(config: Config): Promise<Finding[]> {
  let store: ServerStore;
  try {
    store = openStore(config);
  } catch (error) {
    return [bad('store', error)];
  }
  try {
    return 'address' in store
      ? [await s3Finding(config, store), await probeFinding(store), await clockFinding(store)]
      : [
          { what: 'store', state: 'ok', text: `filesystem in ${config.data}/store` },
          await probeFinding(store),
        ];
  } catch (error) {
    // The first thing that goes wrong explains what follows.
    return [bad('store', error)];
  } finally {
    store.close();
  }
}

/** Errors: ObjectStoreUnavailable with what to do about it (credentials, bucket, address, rights, certificate). */
async function s3Finding(config: Config, store: Extract<ServerStore, { address: string }>): Promise<Finding> {
  await store.get('doctor/nothing');
  await store.list({ prefix: '', limit: 1 });
  for await (const _ of store.multipart.incomplete()) break;
  const { endpoint, publicEndpoint } = config.store.s3;
  const clients = publicEndpoint === undefined ? '' : `; clients are sent to ${publicEndpoint}`;
  return {
    what: 'store',
    state: 'ok',
    text: `${store.address} at ${endpoint ?? 'AWS'}${clients}`,
  };
}

async function probeFinding(store: ServerStore): Promise<Finding> {
  const report = await probeStore(store);
  const spelling = 'address' in store && store.etagSpelling === 'bare' ? ' (ETags without quotes)' : '';
  if (report.collectionSafe) {
    const text = `exact${spelling}: garbage is collected while people push`;
    return { what: 'conditional writes', state: 'ok', text };
  }
  return {
    what: 'conditional writes',
    state: 'bad',
    text: `images are kept and served, but no garbage is collected, because\n${report.reasons.join('\n')}`,
  };
}

async function clockFinding(store: Extract<ServerStore, { address: string }>): Promise<Finding> {
  const minutes = Math.round(store.clockOffsetMs / 60_000);
  if (minutes === 0) return { what: 'clock', state: 'ok', text: 'agrees with the store’s' };
  return {
    what: 'clock',
    state: 'bad',
    text: `${Math.abs(minutes)} minutes ${minutes > 0 ? 'behind' : 'ahead of'} the store’s: set it (NTP). Requests are signed by the store’s time meanwhile.`,
  };
}

function bad(what: string, error: unknown): Finding {
  return { what, state: 'bad', text: (error as Error).message };
}
