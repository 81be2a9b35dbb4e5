import type { EngineFacts } from '../../builder/engines/docker/container-api.ts';
import { askEngine } from '../../builder/engines/docker.ts';
import type { Finding } from './doctor.ts';

export interface EngineWish {
  /** `builder.engine`. */
  readonly engine: string;
  /** `builder.sandbox.runtime`. */
  readonly runtime?: string | undefined;
}

type Facts = EngineFacts & { readonly socketPath: string };

/** The container engine of this machine, and what of the walls around builds it lacks. */
export async function engineFindings(
  { engine, runtime }: EngineWish,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Finding[]> {
  const what = 'engine';
  const none = 'App.yaml files with `build:` commands cannot be built here';
  if (engine === 'none') return [{ what, state: 'note', text: `builder.engine is none: ${none}` }];
  try {
    const facts = await askEngine({ socket: engine, environment });
    if (facts === undefined) return [{ what, state: 'note', text: `no container engine answers: ${none}` }];
    return judgeEngine(facts, runtime);
  } catch (error) {
    return [{ what, state: 'bad', text: (error as Error).message }];
  }
}

/** Pure part of `engineFindings`. */
export function judgeEngine(facts: Facts, runtime: string | undefined): Finding[] {
  const { name, version, runc, security, runtimes, socketPath } = facts;
  const findings: Finding[] = [{ what: 'engine', state: 'ok', text: `${name} ${version} at ${socketPath}` }];
  const add = (state: Finding['state'], text: string): void => {
    findings.push({ what: 'sandbox', state, text });
  };
  const oldest = name === 'Podman' ? '4.0' : '20.10';
  if (isOlder(version, oldest)) add('bad', `${name} ${version} is too old; ${oldest} is needed`);
  // CVE-2024-21626: a working directory that is a leaked descriptor of the host.
  if (runc !== undefined && isOlder(runc, '1.1.12')) {
    add(
      'note',
      `runc ${runc} may let a build out of its container (CVE-2024-21626); 1.1.12 does not, nor does an older one that your distribution has patched`,
    );
  }
  if (runtime !== undefined && !runtimes.includes(runtime)) {
    add(
      'bad',
      `the engine has no runtime "${runtime}" (builder.sandbox.runtime); it has ${runtimes.join(', ')}`,
    );
  }
  if (!security.some((each) => each.startsWith('name=seccomp') && !each.includes('unconfined'))) {
    add('note', 'the engine filters no system calls (seccomp): a build has more of the kernel to attack');
  }
  if (!security.some((each) => /^name=(?:userns|rootless)/.test(each))) {
    add('note', 'no user namespaces (userns-remap, or a rootless engine): see docs/sandbox.md');
  }
  return findings;
}

/** By the numbers at the front: `20.10.24+dfsg1` is 20.10.24. What has none is taken for new. */
function isOlder(version: string, than: string): boolean {
  const numbers = (text: string): number[] =>
    (/^v?(\d+(?:\.\d+)*)/.exec(text)?.[1] ?? '').split('.').map(Number);
  const [own, wanted] = [numbers(version), numbers(than)];
  for (const [index, number] of wanted.entries()) {
    const mine = own[index] ?? 0;
    if (mine !== number) return mine < number;
  }
  return false;
}
