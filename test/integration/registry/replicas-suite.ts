import { afterAll, beforeAll, describe, onTestFailed } from 'vitest';
import { createRegistryClient } from '../../../oci/client.ts';
import { emptyBucket } from '../../helpers/bucket.ts';
import { type CephStore, s3Client, startCeph } from '../../helpers/ceph.ts';
import { runOk } from '../../helpers/process.ts';
import { type Replicas, startReplicas } from '../../helpers/replicas.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';
import { conformanceSuite } from '../../suites/conformance.ts';
import { type RegistryUnderTest, registrySuite } from '../../suites/registry.ts';

export interface ReplicasSuiteOptions {
  /** Settings of every replica, as variables. */
  readonly env: Readonly<Record<string, string>>;
  /** With them the registry has accounts, and the registry suite runs signed in: a token of one replica is shown to another. */
  readonly credentials?: { readonly username: string; readonly password: string };
}

/** The registry suite and conformance over three servers that share a bucket and nothing else, where every request goes to any of them. */
export function replicasSuite(name: string, { env, credentials }: ReplicasSuiteOptions): void {
  describe(`three replicas over Ceph, ${name}`, () => {
    let ceph: CephStore;
    let folder: TempDirectory;
    let replicas: Replicas;
    let bucket: string;
    beforeAll(async () => {
      ceph = await startCeph();
      folder = await createTempDirectory('replicas');
      bucket = await ceph.createBucket();
      const accounts =
        credentials === undefined ? {} : { BRICKYARD_AUTH_HTPASSWD: await writeAccount(folder, credentials) };
      replicas = await startReplicas({ store: { ...ceph, bucket }, env: { ...env, ...accounts } });
    });
    afterAll(async () => {
      await replicas.close();
      await folder.remove();
      await ceph.stop();
    });

    registrySuite('the registry', async (): Promise<RegistryUnderTest> => {
      onTestFailed(
        () => void process.stderr.write(`BRICKYARD_TEST_SEED=${replicas.seed}\n${replicas.output()}\n`),
      );
      const s3 = s3Client(ceph);
      // The suite's registries are empty; keys of tokens are no content.
      await emptyBucket(s3, bucket, { keep: 'auth/' });
      s3.destroy();
      const client = createRegistryClient({
        url: replicas.url,
        ...(credentials === undefined ? {} : { credentials }),
      });
      return { registry: client, close: () => client.close() };
    });

    conformanceSuite('conformance', async () =>
      startReplicas({ store: { ...ceph, bucket: await ceph.createBucket() }, env }),
    );
  });
}

async function writeAccount(
  folder: TempDirectory,
  { username, password }: { readonly username: string; readonly password: string },
): Promise<string> {
  const file = `${folder.path}/users.htpasswd`;
  const program = `${import.meta.dirname}/../../../bin/brickyard.js`;
  await runOk(process.execPath, [program, 'user', 'add', username, '--password-stdin', '--file', file], {
    input: `${password}\n`,
  });
  return file;
}
