import type { ObjectStore } from '../../core/object-store/object-store.ts';

/** Files that the tests of a build left for people: reports, screenshots. Few and small, see the limits of the sandbox. */
export interface ArtifactStore {
  /** For one attempt of a build; what earlier attempts kept is forgotten with the first `add`. */
  writer(build: string): ArtifactWriter;
  /** In the order in which they were kept. */
  list(build: string): Promise<readonly ArtifactInfo[]>;
  /** Undefined = none of that path. */
  get(build: string, path: string): Promise<Buffer | undefined>;
}

export interface ArtifactWriter {
  add(artifacts: readonly { readonly path: string; readonly content: Buffer }[]): Promise<void>;
}

export interface ArtifactInfo {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/** Bodies lie under numbers: a path comes from a build and may hold anything. */
export function createArtifactStore(store: ObjectStore): ArtifactStore {
  const indexKey = (build: string): string => `artifacts/${build}/index`;
  const bodyKey = (build: string, number: number): string =>
    `artifacts/${build}/${String(number).padStart(4, '0')}`;

  async function list(build: string): Promise<readonly ArtifactInfo[]> {
    const object = await store.get(indexKey(build));
    return object === undefined ? [] : (JSON.parse(object.body.toString('utf8')) as ArtifactInfo[]);
  }

  return {
    writer(build) {
      const index: ArtifactInfo[] = [];
      return {
        async add(artifacts) {
          for (const { path, content } of artifacts) {
            await store.put(bodyKey(build, index.length), content, { durability: 'process' });
            index.push({ path, size: content.length });
          }
          if (artifacts.length > 0) await store.put(indexKey(build), Buffer.from(JSON.stringify(index)));
        },
      };
    },
    list,
    async get(build, path) {
      const number = (await list(build)).findIndex((artifact) => artifact.path === path);
      if (number < 0) return undefined;
      return (await store.get(bodyKey(build, number)))?.body;
    },
  };
}
