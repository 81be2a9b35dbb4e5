import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { defaultImage, kubernetesManifest } from '../../../../cache-proxy/clients/kubernetes.ts';
import { shellScript } from '../../../../cache-proxy/clients/shell-script.ts';
import { makeClientPool } from '../../../helpers/client-pool.ts';

const pool = makeClientPool();

describe('the DaemonSet', () => {
  const text = kubernetesManifest(pool, { image: defaultImage(pool), namespace: 'kube-system' });
  const [config, set] = parseAllDocuments(text).map((document) => document.toJS());

  it('runs the script of its ConfigMap with the node’s folders below ROOT', () => {
    expect(config.data['pool.sh']).toBe(shellScript(pool));
    const { containers, volumes } = set.spec.template.spec;
    const [container] = containers;
    expect(container.image).toBe('registry.test:5000/baseimages/base:12');
    expect(container.command).toEqual(['/bin/sh', '/brickyard/pool.sh', 'run']);
    expect(container.env).toEqual([{ name: 'ROOT', value: '/node' }]);
    expect(container.volumeMounts.map(({ mountPath }: { mountPath: string }) => mountPath)).toEqual([
      '/brickyard',
      '/node/etc/containerd',
      '/node/etc/containers',
    ]);
    expect(volumes.map(({ name }: { name: string }) => name)).toEqual(
      container.volumeMounts.map(({ name }: { name: string }) => name),
    );
    expect(set.spec.selector.matchLabels).toEqual(set.spec.template.metadata.labels);
  });

  it('has no more power over the node than files of two folders', () => {
    const { automountServiceAccountToken, containers } = set.spec.template.spec;

    expect(automountServiceAccountToken).toBe(false);
    expect(containers[0].securityContext).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });
});
