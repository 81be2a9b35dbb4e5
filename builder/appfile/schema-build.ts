import { maxSecrets, secretNamePattern } from '../secrets/secret-names.ts';

export const plainImagePath = '[A-Za-z0-9._@+~-]+(?:/[A-Za-z0-9._@+~-]+)*';

/** Text that goes into the image's config: on one line, because neither `docker inspect` nor a Dockerfile can show more. */
export const oneLine = {
  type: 'string',
  maxLength: 8192,
  pattern: '^[^\\x00-\\x08\\x0A-\\x1F\\x7F-\\x9F\\u2028\\u2029]*$',
  'x-message': 'must be one line without control characters',
} as const;

/** Variables by their names. */
export const environment = (description: string) =>
  ({
    type: 'object',
    description,
    maxProperties: 200,
    propertyNames: {
      maxLength: 128,
      pattern: '^[A-Za-z_][A-Za-z0-9_]*$',
      'x-message': 'the name of a variable has letters, digits and "_", and does not begin with a digit',
    },
    additionalProperties: oneLine,
  }) as const;

/** For `/bin/sh`. */
export const shellLine = {
  type: 'string',
  minLength: 1,
  maxLength: 65536,
  pattern: '\\S',
  'x-message': 'must not be empty',
} as const;

const workspacePath = {
  maxLength: 256,
  pattern: '^(?!/)[A-Za-z0-9._@+~*/?-]+$',
  'x-message':
    'must be a path in the workspace, relative, of letters, digits and ._@+~- with * or ? as wildcards',
} as const;

/** Where commands run and for how long. */
const limits = {
  network: {
    enum: ['none', 'proxy', 'open'],
    'x-message': 'must be none, proxy or open',
    description:
      'What the commands reach, over HTTP and HTTPS alone: `none`; `proxy`, the mirrors and hosts that the server lists; `open`, every public host. Default: open.',
  },
  timeout: {
    type: 'string',
    pattern: '^[1-9][0-9]{0,5}(?:s|m|h)$',
    'x-message': 'must be a number with s, m or h, such as 90s or 15m',
    description: 'For all commands together: `90s`, `15m`, `1h`. At most 6h. Default: 15m.',
  },
} as const;

const secrets = {
  type: 'array',
  minItems: 1,
  maxItems: maxSecrets,
  uniqueItems: true,
  items: {
    type: 'string',
    pattern: secretNamePattern,
    'x-message':
      'the name of a secret has letters, digits, ".", "_" and "-" and begins with a letter or digit',
  },
  description:
    'Names of secrets that `brickyard secret set` keeps: the commands find each in the file /run/secrets/NAME. They never enter the image.',
} as const;

const commandList = {
  type: 'array',
  minItems: 1,
  maxItems: 100,
  items: shellLine,
} as const;

/** One command, a list of them, or a map that has them. */
const textListOrMap = {
  type: ['string', 'array', 'object'],
  minLength: 1,
  maxLength: 65536,
  minItems: 1,
  maxItems: 100,
  items: shellLine,
  required: ['commands'],
  additionalProperties: false,
} as const;

/** `build`. */
export const buildSchema = {
  description:
    'Commands that run in a container before the image is made. A text or a list is short for `commands`. Leave it out when nothing has to be built.',
  ...textListOrMap,
  properties: {
    base: {
      type: 'string',
      minLength: 1,
      maxLength: 255,
      description:
        'Base image of the build container. Default: the `-build` flavour of `base` if the catalog has one, else `base`.',
    },
    commands: {
      ...commandList,
      description:
        'Shell lines, run by `/bin/sh -ec` one after another in /home/<appname>, which holds the source.',
    },
    outputs: {
      type: 'object',
      description:
        'What enters the image: path or glob in the workspace → absolute path under /home/<appname>, or with `rebase: never` elsewhere. Left out: the whole workspace after the build.',
      minProperties: 1,
      maxProperties: 100,
      propertyNames: workspacePath,
      additionalProperties: {
        type: 'string',
        maxLength: 512,
        pattern: `^/${plainImagePath}/?$`,
        'x-message': 'must be an absolute path of letters, digits and ._@+~-',
      },
    },
    envs: environment('Environment of the commands and of `test`; it does not enter the image.'),
    cache: {
      type: ['boolean', 'array'],
      not: { const: true },
      minItems: 1,
      maxItems: 20,
      uniqueItems: true,
      items: {
        type: 'string',
        maxLength: 256,
        pattern: '^(?:~/)?[A-Za-z0-9._@+-]+(?:/[A-Za-z0-9._@+-]+)*/?$',
        'x-message':
          'must be a path below the home directory of the commands (~/.m2) or in the workspace (node_modules)',
      },
      'x-message': 'must be false or a list of paths such as ~/.m2',
      description:
        'What is kept for the next build: paths below the home directory of the commands such as `~/.m2`, or in the workspace such as `node_modules`; false for nothing. Default: what npm, yarn, pnpm, Maven, Gradle, pip or Go fetched, where their lockfiles are in the source.',
    },
    secrets,
    ...limits,
  },
} as const;

/** `test`. */
export const testSchema = {
  description:
    'Commands that run after `build`, over what it left or else over the source, before anything is pushed; one that fails stops the build. A text or a list is short for `commands`.',
  ...textListOrMap,
  properties: {
    commands: {
      ...commandList,
      description: 'As under `build`, in the same base image. What they change does not enter the image.',
    },
    artifacts: {
      type: 'array',
      minItems: 1,
      maxItems: 20,
      items: { type: 'string', ...workspacePath },
      description:
        'Globs in the workspace: files that are kept with the build, also when a test fails. Together at most 8 MiB.',
    },
    secrets: { ...secrets, description: 'As under `build`, for the tests; those of `build` are not there.' },
    ...limits,
  },
} as const;
