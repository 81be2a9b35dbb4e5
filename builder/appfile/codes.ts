import { schemaCodes } from '../../core/document/check-schema.ts';
import { documentCodes } from '../../core/document/document-codes.ts';

/** Every code that a fault of App.yaml may have; docs/app-yaml.md explains them. */
export const appFileCodes = {
  ...documentCodes,
  ...schemaCodes,
  /** More than one App.yaml. */ ambiguousFile: 'E005',
  /** The name of an entrypoint. */ entrypointName: 'E014',
  /** The name of the application: reserved or wrong. */ appName: 'E015',
  /** No, several or impossible commands of an entrypoint. */ command: 'E016',
  /** A port or health check. */ port: 'E017',
  /** A path or glob. */ path: 'E018',
  /** A variable that is set for the application. */ environment: 'E019',
  /** A key of an old format. */ legacy: 'E020',
  /** A key that this version does not carry out. */ unsupportedKey: 'E021',
  /** No base image, or one that does not exist or fit. */ base: 'E022',
  /** A script that `runtime` or `static` names. */ runtimeScript: 'E023',
  /** Files of the source that git does not bring: submodules, Git LFS. */ source: 'E024',
  /** A secret that is not there. */ secret: 'E025',
  /** Accepted, but probably not meant. */ advice: 'W001',
  /** What became of a key of an old format. */ mapped: 'W002',
} as const;
