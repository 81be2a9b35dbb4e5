import { beforeEach, describe, expect, it } from 'vitest';
import type { Authenticator } from '../../../../core/auth/authenticator.ts';
import { type Action, anonymous } from '../../../../core/auth/authorizer.ts';
import { createHttpServer } from '../../../../core/http/http-server.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import { createMetrics } from '../../../../core/metrics.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { type ObjectStore, ObjectStoreUnavailable } from '../../../../core/object-store/object-store.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { createRepositoryRoutes } from '../../../../registry/http/repository-routes.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { pushContent } from '../../../helpers/content.ts';
import { createContext } from '../store/context.ts';

const content = { blobs: { a: 'a' }, manifests: { image: { layers: ['a'] } }, tags: { v1: 'image' } };

let store: ObjectStore;
let registry: Registry;
let rights: Action[];
let signedIn: boolean;

const authenticator: Authenticator = {
  required: true,
  identify: async () => ({
    principal: signedIn ? { name: 'dev', anonymous: false } : anonymous,
    authorizer: { may: (_principal, action) => rights.includes(action) },
  }),
};

beforeEach(async () => {
  store = createMemoryStore();
  registry = createStoredRegistry({ store });
  rights = ['delete'];
  signedIn = true;
  await pushContent(registry, { 'team/app': content, 'team/other': content });
});

async function remove(name: string, clock?: () => number): Promise<{ status: number; body: unknown }> {
  const http = createHttpServer({ log: createSilentLogger(), metrics: createMetrics() });
  const context = createContext(store, clock === undefined ? {} : { clock });
  await http.app.register(createRepositoryRoutes({ context, authenticator, http, timeMs: 1 }));
  const answer = await http.app.inject({ method: 'DELETE', url: `/api/v1/repositories/${name}` });
  await http.app.close();
  return { status: answer.statusCode, body: answer.json() };
}

const repositories = async () => (await registry.listRepositories({ limit: 10 })).entries;

describe('DELETE /api/v1/repositories/<name>', () => {
  it.each(['team/app', 'team%2Fapp'])('deletes %s, and then there is none', async (name) => {
    expect(await remove(name, () => 0)).toEqual({ status: 200, body: { done: true, manifests: 1 } });
    expect(await repositories()).toEqual(['team/other']);
    expect(await remove(name)).toMatchObject({ status: 404, body: { error: { code: 'NAME_UNKNOWN' } } });
  });

  it('says when there is more to do than a request may take the time for', async () => {
    let now = 0;
    const first = await remove('team/app', () => now++);
    expect(first).toEqual({ status: 200, body: { done: false, manifests: 0 } });
    expect(await repositories()).toEqual(['team/app', 'team/other']);
  });

  it('asks for the right to delete there, whether or not there is such a repository', async () => {
    rights = ['pull', 'push'];
    const answers = [await remove('team/app'), await remove('team/nothing')];
    signedIn = false;
    answers.push(await remove('team/app'), await remove('team/nothing'));

    expect(answers.map(({ status }) => status)).toEqual([403, 403, 401, 401]);
    expect(await repositories()).toEqual(['team/app', 'team/other']);
  });

  it.each(['TEAM/app', 'team//app', '..%2f..%2fauth', 'team/app/', '_x', 'a'.repeat(300)])(
    'refuses %s as a name',
    async (name) => {
      expect(await remove(name)).toMatchObject({ status: 400, body: { error: { code: 'NAME_INVALID' } } });
    },
  );

  it('says that the store does not answer', async () => {
    store = { ...store, list: () => Promise.reject(new ObjectStoreUnavailable('down')) };
    expect(await remove('team/app')).toMatchObject({ status: 503, body: { error: { code: 'UNAVAILABLE' } } });
  });
});
