import type { Deleter } from '../registry.ts';
import { drain } from './answers.ts';
import type { ClientSession } from './session.ts';

export function createClientDeleter(session: ClientSession): Deleter {
  return {
    async deleteBlob(repository, digest) {
      await drain(await session.call({ method: 'DELETE', route: { kind: 'blob', repository, digest } }));
    },
    async deleteManifest(repository, digest) {
      await deleteReference(repository, digest);
    },
    async deleteTag(repository, tag) {
      await deleteReference(repository, tag);
    },
  };

  async function deleteReference(repository: string, reference: string): Promise<void> {
    await drain(await session.call({ method: 'DELETE', route: { kind: 'manifest', repository, reference } }));
  }
}
