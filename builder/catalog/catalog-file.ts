import type { JsonSchema } from '../../core/document/check-schema.ts';
import { createSchemaChecker } from '../../core/document/check-schema.ts';
import { type DocumentFault, hasErrors, type SourceDocument } from '../../core/document/document.ts';
import type { BaseFile } from './base-file.ts';
import { catalogCodes } from './codes.ts';
import type { CatalogMirrors } from './sources/mirror-addresses.ts';

/** `catalog.yaml` at the top of a catalog's folder: what holds for all its entries. Everything in it may be left out. */
export interface CatalogFile {
  /**
   * Beginning of addresses, or `maven:` or `npm:` → where the same files lie, tried before the place that the recipe names. These may
   * be addresses of a private network and plain `http://`, since every file is checked by its checksum.
   */
  readonly mirrors?: CatalogMirrors;
  /** What this catalog's entries must have; lint and build refuse others. Default: nothing. */
  readonly policy?: CatalogPolicy;
}

export interface CatalogPolicy {
  /** Hosts (`example.com`, with those below it) that sources and their mirrors may name. Default: any. */
  readonly hosts?: readonly string[];
  /** Keys that every entry must have. Default: none. */
  readonly require?: readonly ('owners' | 'description' | 'contract' | 'test')[];
}

export const catalogFileSchema: JsonSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    mirrors: {
      type: 'object',
      maxProperties: 100,
      propertyNames: {
        pattern: '^(?:maven:|npm:|https://[^/@\\s]+(?:/\\S*)?)$',
        'x-message': 'must be the beginning of an address ("https://example.org/"), "maven:" or "npm:"',
      },
      additionalProperties: {
        type: 'array',
        minItems: 1,
        maxItems: 10,
        items: {
          type: 'string',
          pattern: '^https?://[^/@\\s]+(?:/\\S*)?$',
          'x-message':
            'must be an address that begins with https:// or http:// and holds no user name or password',
        },
      },
    },
    policy: {
      type: 'object',
      additionalProperties: false,
      properties: {
        hosts: {
          type: 'array',
          minItems: 1,
          maxItems: 100,
          items: {
            type: 'string',
            pattern: '^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$',
            'x-message': 'must be the name of a host, such as example.com',
          },
        },
        require: {
          type: 'array',
          uniqueItems: true,
          items: { type: 'string', enum: ['owners', 'description', 'contract', 'test'] },
        },
      },
    },
  },
};

export interface CheckedCatalogFile {
  readonly file: CatalogFile;
  readonly faults: readonly DocumentFault[];
}

/** An empty file is one that says nothing. */
export function checkCatalogFile(document: SourceDocument): CheckedCatalogFile {
  if (hasErrors(document.faults)) return { file: {}, faults: document.faults };
  if (document.value === null) return { file: {}, faults: document.faults };
  const faults = [...document.faults, ...createSchemaChecker(catalogFileSchema)(document)];
  return { file: hasErrors(faults) ? {} : (document.value as CatalogFile), faults };
}

/** Where an entry is not as its catalog's policy wants it. */
export function checkPolicy(
  document: SourceDocument,
  file: BaseFile,
  policy: CatalogPolicy,
): DocumentFault[] {
  const faults: DocumentFault[] = [];
  for (const key of policy.require ?? []) {
    if (file[key] !== undefined) continue;
    const message = `the key "${key}" is missing, and catalog.yaml requires it`;
    faults.push(document.fault(['name'], { code: catalogCodes.policy, message }));
  }
  const { hosts } = policy;
  for (const [index, { url, git, mirrors = [] }] of (hosts === undefined
    ? []
    : (file.sources ?? [])
  ).entries()) {
    const places = [
      { path: ['url'], address: url },
      { path: ['git', 'url'], address: git?.url },
      ...mirrors.map((address, at) => ({ path: ['mirrors', at], address })),
    ];
    for (const { path, address } of places) {
      const host = address === undefined ? undefined : new URL(address).hostname;
      if (host === undefined || hosts?.some((each) => host === each || host.endsWith(`.${each}`)) === true)
        continue;
      const message = `catalog.yaml lets sources come from ${hosts?.join(', ')}, not from ${host}`;
      faults.push(document.fault(['sources', index, ...path], { code: catalogCodes.policy, message }));
    }
  }
  return faults;
}
