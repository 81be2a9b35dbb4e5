import { compileGlob, isPlainPath } from './glob.ts';

/** Files of a build's workspace → their places in the image, by the same rules as the Dockerfile's COPY. */
export interface OutputMatcher {
  /** Absolute path in the image of a workspace file (path relative to the workspace); undefined when no output covers it. */
  target(path: string, kind: 'file' | 'directory'): string | undefined;
  /** Outputs that no file has matched so far: a build that does not make what it declares has failed. */
  missing(): string[];
}

/**
 * - `target/app.war: /home/x/app.war` one file, under this name; with a target that ends in `/`, into that directory;
 * - `dist: /home/x/public` the content of a directory;
 * - `target/*.jar: /home/x/lib/` files of one directory; `build/**: /home/x/` everything below `build`.
 *
 * Where two outputs cover a file, the later wins.
 */
export function createOutputMatcher(outputs: Readonly<Record<string, string>>): OutputMatcher {
  const rules = Object.entries(outputs).map(([pattern, target]) => createRule(pattern, target));
  const used = new Set<string>();
  return {
    target(path, kind) {
      let result: string | undefined;
      for (const rule of rules) {
        const target = rule.target(path, kind);
        if (target === undefined) continue;
        used.add(rule.pattern);
        result = target;
      }
      return result;
    },
    missing: () => rules.map((rule) => rule.pattern).filter((pattern) => !used.has(pattern)),
  };
}

interface OutputRule {
  readonly pattern: string;
  target(path: string, kind: 'file' | 'directory'): string | undefined;
}

function createRule(pattern: string, target: string): OutputRule {
  const plain = pattern.replace(/^\.\//, '').replace(/\/+$/, '');
  const directory = target.endsWith('/') ? target.slice(0, -1) : target;
  const whole = /^(?:(.*)\/)?\*\*$/.exec(plain);
  const below =
    whole !== null ? (whole[1] ?? '') : isPlainPath(plain) ? (plain === '.' ? '' : plain) : undefined;
  if (below !== undefined) {
    return {
      pattern,
      target(path, kind) {
        if (below !== '' && path === below) {
          if (kind === 'directory') return directory;
          if (whole !== null) return undefined;
          return target.endsWith('/') ? `${directory}/${path.slice(path.lastIndexOf('/') + 1)}` : target;
        }
        if (below !== '' && !path.startsWith(`${below}/`)) return undefined;
        return `${directory}/${below === '' ? path : path.slice(below.length + 1)}`;
      },
    };
  }
  const parent = plain.slice(0, plain.lastIndexOf('/') + 1);
  const glob = compileGlob(plain);
  return {
    pattern,
    target(path, kind) {
      if (!path.startsWith(parent) || !glob.matches(path)) return undefined;
      // A directory that the pattern names is copied by its content, as COPY does.
      const [first = '', ...rest] = path.slice(parent.length).split('/');
      if (rest.length === 0) return kind === 'directory' ? directory : `${directory}/${first}`;
      return `${directory}/${rest.join('/')}`;
    },
  };
}
