import { afterEach, beforeEach, describe } from 'vitest';
import type { Registry } from '../../oci/registry.ts';
import { blobCases } from './registry/blobs.ts';
import { listCases } from './registry/lists.ts';
import { manifestCases } from './registry/manifests.ts';
import { uploadCases } from './registry/uploads.ts';

export { expectCode } from './registry/fixtures.ts';

export interface RegistryUnderTest {
  readonly registry: Registry;
  readonly close?: () => Promise<void> | void;
}

/** What every Registry has to do, whatever is behind it. */
export function registrySuite(name: string, create: () => Promise<RegistryUnderTest>): void {
  describe(name, () => {
    let under: RegistryUnderTest;
    beforeEach(async () => {
      under = await create();
    });
    afterEach(async () => {
      await under.close?.();
    });
    const current = (): Registry => under.registry;

    blobCases(current);
    uploadCases(current);
    manifestCases(current);
    listCases(current);
  });
}
