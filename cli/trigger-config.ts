import type { Static } from 'typebox';
import { refuseRepository } from '../builder/git/git-path.ts';
import { compileGlob } from '../builder/plan/glob.ts';
import { parseRemoteUrl } from '../builder/triggers/remote-url.ts';
import type { ValueFault } from '../core/config/settings.ts';
import { Type } from '../core/type.ts';

const text = Type.String({ minLength: 1 });

/** One entry of `builder.triggers`; what each key means to whoever writes it is in docs/triggers.md. No secret stands in it, only files with them. */
const triggerSchema = Type.Object(
  {
    /** `team/app`. */
    app: text,
    provider: Type.Enum(['github', 'gitlab', 'gitea', 'generic']),
    url: text,
    /** Absolute paths, read once at the start, as all files here. */
    secretFiles: Type.Array(text, { minItems: 1, maxItems: 2 }),
    tokenFile: Type.Optional(text),
    /** Default: git. */
    username: Type.Optional(text),
    keyFile: Type.Optional(text),
    knownHostsFile: Type.Optional(text),
    /** Default: all. */
    branches: Type.Optional(Type.Array(text, { maxItems: 100 })),
    tags: Type.Optional(Type.Array(text, { maxItems: 100 })),
    /** Default: never. */
    forks: Type.Optional(Type.Enum(['never', 'build'])),
    status: Type.Optional(
      Type.Object(
        {
          tokenFile: text,
          /** Default: found out from `url`. */
          api: Type.Optional(text),
          /** Default: brickyard. */
          context: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
        },
        { additionalProperties: false },
      ),
    ),
    caFile: Type.Optional(text),
    privateNetwork: Type.Optional(Type.Boolean()),
    insecureHttp: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);

export type TriggerConfig = Static<typeof triggerSchema>;

/** The setting `builder.triggers`. A variable holds it as JSON. */
export const triggersSchema = Type.Array(triggerSchema, {
  default: [],
  maxItems: 10_000,
  description:
    'Repositories elsewhere that are built when a webhook says so; see docs/triggers.md. As a variable: JSON.',
  'x-check': checkTriggers,
});

function checkTriggers(triggers: readonly TriggerConfig[]): ValueFault[] {
  const seen = new Set<string>();
  return triggers.flatMap((trigger, index) => {
    const faults = checkTrigger(trigger);
    const name = `${trigger.app} ${trigger.provider} ${trigger.url}`;
    if (seen.has(name)) faults.push({ path: ['app'], message: `"${trigger.app}" has this trigger twice` });
    seen.add(name);
    return faults.map((fault) => ({ ...fault, path: [index, ...fault.path] }));
  });
}

function checkTrigger(trigger: TriggerConfig): ValueFault[] {
  const faults: ValueFault[] = [];
  const wrong = (path: readonly (string | number)[], message: string, hint?: string): void =>
    void faults.push({ path, message, ...(hint === undefined ? {} : { hint }) });
  const [team = '', app = '', ...rest] = trigger.app.split('/');
  const unfit = rest.length > 0 || app === '' ? { refused: 'must be TEAM/APP' } : refuseRepository(team, app);
  if (unfit !== undefined) wrong(['app'], unfit.refused);
  const url = parseRemoteUrl(trigger.url, { insecureHttp: trigger.insecureHttp === true });
  if ('fault' in url) wrong(['url'], url.fault, url.hint);
  else if (url.protocol === 'ssh') checkSsh(trigger, wrong);
  else {
    for (const key of ['keyFile', 'knownHostsFile'] as const) {
      if (trigger[key] !== undefined) wrong([key], 'is for ssh:// addresses; here it is tokenFile');
    }
  }
  for (const [key, path] of filesOf(trigger)) {
    if (!path.startsWith('/')) wrong(key, 'must be an absolute path');
    // ssh takes blanks and % in a path for something else.
    else if (/[\s'"%\\\p{Cc}]/u.test(path)) wrong(key, 'must hold no blank, quote, % or backslash');
  }
  for (const key of ['branches', 'tags'] as const) {
    for (const [at, pattern] of (trigger[key] ?? []).entries()) {
      if (!isGlob(pattern)) wrong([key, at], `"${pattern}" is no pattern`);
    }
  }
  if (trigger.username !== undefined && (trigger.tokenFile === undefined || trigger.username.includes(':'))) {
    wrong(['username'], 'needs tokenFile, and must hold no colon');
  }
  if (trigger.status !== undefined) checkStatus(trigger, wrong);
  return faults;
}

type Wrong = (path: readonly (string | number)[], message: string, hint?: string) => void;

function checkSsh(trigger: TriggerConfig, wrong: Wrong): void {
  for (const key of ['keyFile', 'knownHostsFile'] as const) {
    if (trigger[key] === undefined) wrong(['url'], `an ssh:// address needs ${key}`);
  }
  if (trigger.tokenFile !== undefined) wrong(['tokenFile'], 'is for https:// addresses; here it is keyFile');
}

function checkStatus({ provider, status, insecureHttp }: TriggerConfig, wrong: Wrong): void {
  if (provider === 'generic') wrong(['status'], 'a generic trigger has nobody to report to');
  if (status?.api === undefined) return;
  const api = URL.canParse(status.api) ? new URL(status.api) : undefined;
  const plain = api?.search === '' && api.hash === '' && api.username === '' && api.password === '';
  if (!plain || !(api.protocol === 'https:' || (api.protocol === 'http:' && insecureHttp === true))) {
    wrong(['status', 'api'], 'must be an address such as https://git.example.com/api/v1');
  }
}

function filesOf(trigger: TriggerConfig): [readonly (string | number)[], string][] {
  const { keyFile, knownHostsFile, tokenFile, caFile, status, secretFiles } = trigger;
  const single = Object.entries({ keyFile, knownHostsFile, tokenFile, caFile });
  return [
    ...secretFiles.map((path, at): [readonly (string | number)[], string] => [['secretFiles', at], path]),
    ...single.flatMap(([key, path]): [readonly string[], string][] =>
      path === undefined ? [] : [[[key], path]],
    ),
    ...(status === undefined ? [] : [[['status', 'tokenFile'], status.tokenFile] as [string[], string]]),
  ];
}

function isGlob(pattern: string): boolean {
  try {
    compileGlob(pattern);
    return true;
  } catch {
    return false;
  }
}
