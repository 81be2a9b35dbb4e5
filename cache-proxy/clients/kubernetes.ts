import type { ClientPool } from './client-setup.ts';
import { heading } from './heading.ts';
import { shellScript } from './shell-script.ts';

export interface KubernetesOptions {
  /** Image with a POSIX shell and its usual company (cat, cksum, grep, …). */
  readonly image: string;
  /** One where pods may mount folders of their node. */
  readonly namespace: string;
}

/** What the catalog's image is called; it is pulled before the node knows of the pool. */
export function defaultImage(pool: ClientPool): string {
  return `${pool.registries[0]?.host ?? pool.host}/baseimages/base:12`;
}

/**
 * A DaemonSet that keeps the files of `shellScript` on every node as long as it exists, and a ConfigMap with the script. `kubectl apply -f -` installs,
 * `kubectl delete -f -` takes back: each pod cleans its node before it ends.
 */
export function kubernetesManifest(pool: ClientPool, { image, namespace }: KubernetesOptions): string {
  const name = `brickyard-pool-${pool.name}`;
  const documents = [
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name, namespace, labels: { app: name } },
      data: { 'pool.sh': shellScript(pool) },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name, namespace, labels: { app: name } },
      spec: {
        selector: { matchLabels: { app: name } },
        updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '25%' } },
        template: { metadata: { labels: { app: name } }, spec: podSpec(name, image) },
      },
    },
  ];
  const head = [
    ...heading(pool, 'every node of the cluster pulls through it', ' --for kubernetes'),
    `# Install: brickyard pool clients ${pool.name} --for kubernetes | kubectl apply -f -     Undo: the same with kubectl delete -f -`,
    '# containerd\'s config.toml must have config_path = "/etc/containerd/certs.d" (kubeadm, k3s and the managed clusters have it or have a switch).',
  ];
  // JSON is YAML: nothing has to be quoted by rules that differ between parsers.
  return [...head, ...documents.map((document) => `---\n${JSON.stringify(document, undefined, 2)}`), ''].join(
    '\n',
  );
}

function podSpec(name: string, image: string): object {
  const folders = { containerd: '/etc/containerd', containers: '/etc/containers' };
  return {
    automountServiceAccountToken: false,
    priorityClassName: 'system-node-critical',
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    tolerations: [{ operator: 'Exists' }],
    terminationGracePeriodSeconds: 10,
    containers: [
      {
        name: 'files',
        image,
        command: ['/bin/sh', '/brickyard/pool.sh', 'run'],
        env: [{ name: 'ROOT', value: '/node' }],
        resources: { requests: { cpu: '1m', memory: '8Mi' }, limits: { memory: '32Mi' } },
        securityContext: {
          // The folders belong to root; being it is enough to write there, no capability is.
          runAsUser: 0,
          runAsGroup: 0,
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
        volumeMounts: [
          { name: 'script', mountPath: '/brickyard', readOnly: true },
          ...Object.entries(folders).map(([volume, path]) => ({ name: volume, mountPath: `/node${path}` })),
        ],
      },
    ],
    volumes: [
      { name: 'script', configMap: { name } },
      ...Object.entries(folders).map(([volume, path]) => ({
        name: volume,
        hostPath: { path, type: 'DirectoryOrCreate' },
      })),
    ],
  };
}
