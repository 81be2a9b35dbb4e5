import type { JsonSchema } from '../../core/document/check-schema.ts';
import { buildSchema, environment, oneLine, plainImagePath, shellLine, testSchema } from './schema-build.ts';

const text = { type: 'string', minLength: 1, maxLength: 4096 } as const;

const scriptPath = {
  type: 'string',
  maxLength: 256,
  pattern: `^${plainImagePath}$`,
  'x-message': 'must be the path of a script in the source, relative to its top',
} as const;

const sourcePattern = {
  type: 'string',
  maxLength: 256,
  pattern: '^(?!/)(?!!)[^\\x00-\\x1F\\x7F-\\x9F\\u2028\\u2029]+$',
  'x-message': 'must be a path or glob relative to the top of the source, without "!"',
} as const;

const port = { type: 'integer', minimum: 1, maximum: 65535 } as const;

const healthcheck = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  description: 'How to see that the role works. Left out: a TCP check of each TCP port.',
  properties: {
    tcp_ports: {
      type: 'array',
      items: port,
      minItems: 1,
      maxItems: 100,
      description: 'Ports that must accept a connection.',
    },
    http_port: { ...port, description: 'Port of the HTTP check. Default: the only port of the role.' },
    url: {
      type: 'string',
      maxLength: 1024,
      pattern: '^/[\\x21-\\x7E]*$',
      'x-message': 'must be a path that begins with "/", without blanks',
      description: 'Path of the HTTP check.',
    },
    code: { type: 'integer', minimum: 100, maximum: 599, description: 'Expected status. Default: 200.' },
  },
} as const;

const hookCommands = {
  type: 'array',
  items: { ...oneLine, minLength: 1 },
  minItems: 1,
  maxItems: 20,
} as const;

const entrypoint = {
  type: 'object',
  description: 'One way to start the image. Give one of `cmd`, `commands` and `shell`.',
  additionalProperties: false,
  properties: {
    cmd: {
      type: 'string',
      maxLength: 8192,
      description:
        'Program and arguments, split at blanks as a shell does (quotes, backslash). No shell runs.',
    },
    commands: {
      type: 'array',
      minItems: 1,
      maxItems: 500,
      items: { type: 'string', maxLength: 65536 },
      description: 'Program and arguments as a list, each exactly as it stands.',
    },
    shell: {
      ...shellLine,
      description: 'A shell line, run by `/bin/sh -c`: variables, pipes and `&&` work.',
    },
    ports: {
      type: 'array',
      maxItems: 100,
      items: { type: ['string', 'integer'], minimum: 1, maximum: 65535, maxLength: 32 },
      description:
        'Ports that the role listens on: `8080`, `"8080/http"`, `"53/udp"`. No mapping to the host.',
    },
    healthcheck,
    hook: {
      type: 'object',
      additionalProperties: false,
      description: 'Commands for the scheduler, kept in the image’s label `org.brickyard.roles`.',
      properties: {
        after_start: { ...hookCommands, description: 'Run in the container after it was started.' },
        before_stop: { ...hookCommands, description: 'Run in the container before it is stopped.' },
      },
    },
    env: environment('Environment of this role, on top of `envs`.'),
    user: {
      enum: ['app', 'root'],
      description: 'Whom the role runs as. `app` is 10001:10001. Default: app.',
    },
    dir: {
      type: 'string',
      maxLength: 512,
      pattern: `^/?${plainImagePath}/?$`,
      'x-message': 'must be a path of letters, digits and ._@+~-',
      description: 'Working directory; a relative path begins at /home/<appname>. Default: /home/<appname>.',
    },
    restart: {
      enum: ['no', 'always', 'on-failure', 'unless-stopped'],
      'x-message': 'must be no, always, on-failure or unless-stopped',
      description: 'For the scheduler, kept in the label.',
    },
    stop_signal: { $ref: '#/$defs/signal' },
    resources: {
      type: 'object',
      additionalProperties: false,
      description: 'For the scheduler, kept in the label.',
      properties: {
        cpu: { type: 'number', exclusiveMinimum: 0, maximum: 1024, description: 'Cores, e.g. 0.5.' },
        memory: {
          type: 'string',
          maxLength: 32,
          description: 'Bytes with a unit: 512MB, 2GiB. K, M and G count by 1024, as docker does.',
        },
      },
    },
  },
} as const;

/**
 * App.yaml v1 as a JSON Schema 2020-12; the published file docs/schema/app.v1.json is this object. What a schema cannot say
 * (paths under the app's own directory, ports that appear twice …) is in `check-appfile.ts`.
 */
export const appFileSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $id: 'urn:brickyard:schema:app.v1',
  title: 'Brickyard App.yaml v1',
  description:
    'What an application is made of and how it starts: a base image, the source, and one or more roles.',
  type: 'object',
  required: ['entrypoints'],
  additionalProperties: false,
  patternProperties: { '^x-': { description: 'Ignored: notes and anchors of your own.' } },
  properties: {
    apiVersion: { enum: ['v1'], description: 'The format of this file. Default: v1.' },
    appname: {
      type: 'string',
      maxLength: 32,
      pattern: '^[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*$',
      'x-message':
        'must be lower-case letters and digits with single "-" between them, and begin with a letter',
      description:
        'Names the image repository <team>/<appname> and the directory /home/<appname>. Default: the name of the git repository.',
    },
    base: { ...text, maxLength: 255, description: 'Base image from the catalog: `nodejs:26`, `base:12`.' },
    source: {
      type: 'object',
      additionalProperties: false,
      description: 'Which files of the commit enter the image. .dockerignore counts too; .git never enters.',
      properties: {
        include: {
          type: 'array',
          items: sourcePattern,
          minItems: 1,
          maxItems: 100,
          description: 'Globs. Default: everything.',
        },
        exclude: {
          type: 'array',
          items: sourcePattern,
          maxItems: 100,
          description: 'Globs that win over `include`.',
        },
      },
    },
    build: buildSchema,
    test: testSchema,
    entrypoints: {
      type: 'object',
      description:
        'The roles of the image by name; `docker run IMAGE NAME` starts one. The first is the default.',
      minProperties: 1,
      maxProperties: 50,
      propertyNames: {
        maxLength: 63,
        pattern: '^[a-z](?:[a-z0-9-]*[a-z0-9])?$',
        'x-code': 'E014',
        'x-message':
          'the name of an entrypoint has lower-case letters, digits and "-", and begins with a letter',
      },
      additionalProperties: entrypoint,
    },
    envs: environment('Environment of every role, in the image’s config.'),
    labels: {
      type: 'object',
      description: 'Labels of the image.',
      maxProperties: 100,
      propertyNames: {
        maxLength: 128,
        pattern: '^[A-Za-z](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?$',
        'x-message': 'a label has letters, digits and ._/- and begins with a letter',
      },
      additionalProperties: oneLine,
    },
    volumes: {
      type: 'array',
      maxItems: 50,
      items: {
        type: 'string',
        maxLength: 512,
        pattern: `^/${plainImagePath}/?$`,
        'x-message':
          'must be an absolute path in the container, of letters, digits and ._@+~-; where it lies on the host is the scheduler’s business',
      },
      description: 'Paths in the container that hold data to keep.',
    },
    dns: {
      type: 'array',
      maxItems: 10,
      items: { ...oneLine, minLength: 1, maxLength: 64 },
      description: 'Name servers, for the scheduler; kept in the label `org.brickyard.deploy`.',
    },
    extra_hosts: {
      type: 'array',
      maxItems: 100,
      items: {
        type: 'string',
        maxLength: 320,
        pattern: '^[A-Za-z0-9.-]+:[0-9A-Fa-f.:]+$',
        'x-message': 'must be name:address',
      },
      description:
        'Lines for /etc/hosts as `name:address`, for the scheduler; kept in the label `org.brickyard.deploy`.',
    },
    runtime: {
      ...scriptPath,
      description:
        'A script of the source that runs at each start of a container, before the role. It must be safe to run again.',
    },
    static: {
      ...scriptPath,
      description:
        'A script of the source that runs when the image is made, in the app’s own base image, over /home/<appname> as it will be in the image; what it changes there enters the image. No network; at most 15 minutes.',
    },
    platforms: {
      type: 'array',
      minItems: 1,
      maxItems: 10,
      uniqueItems: true,
      items: {
        type: 'string',
        maxLength: 64,
        pattern: '^linux/[a-z0-9_]+(?:/v[0-9]+)?$',
        'x-message': 'must be a platform such as linux/amd64 or linux/arm64',
      },
      description:
        'The image is for each of these platforms, which its base must have: `linux/amd64`, `linux/arm64`. Commands run once, on the build machine’s own. Default: that one.',
    },
    rebase: {
      enum: ['never'],
      'x-message': 'must be never, or be left out',
      description:
        'The image is rebuilt, never rebased, when its base changes. Outputs outside of /home/<appname> need it: they may replace files of the base. Default: what the base allows.',
    },
    stop_signal: { $ref: '#/$defs/signal' },
    notify: {
      ...oneLine,
      minLength: 1,
      description: 'Whom to tell about builds; kept in the label `org.brickyard.deploy`.',
    },
    deploy: {
      type: 'object',
      maxProperties: 100,
      propertyNames: {
        maxLength: 128,
        not: { enum: ['dns', 'extra_hosts', 'notify'] },
        'x-message': 'is a key of its own at the top of the file',
      },
      description:
        'Anything for the scheduler, as it stands; kept as JSON in the label `org.brickyard.deploy`. At most 32,768 characters of JSON.',
    },
  },
  $defs: {
    signal: {
      type: 'string',
      maxLength: 16,
      description:
        'What a container gets when it is stopped: TERM, INT, QUIT, WINCH … Default: that of the base image.',
    },
  },
} as const satisfies JsonSchema;
