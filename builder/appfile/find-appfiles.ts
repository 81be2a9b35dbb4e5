import { appFileNames } from './names.ts';

export interface FoundAppFiles {
  /** Folders that hold an App.yaml, '' for the top; each before those below it, else in byte order. */
  readonly directories: readonly string[];
  /** App.yaml that nobody looks at, because they lie too deep. */
  readonly tooDeep: readonly string[];
}

/** Folders below the top. */
export const maxAppFileDepth = 4;
/** Applications of one repository. */
export const maxAppFiles = 20;

/** Code of others and examples: their App.yaml are no applications of this repository. */
const foreign = ['node_modules', 'vendor', 'third_party', 'testdata'];

/**
 * Where the applications of a repository are, by the paths of its files. Below the top only `App.yaml` and `App.yml` count: other
 * programs (App Engine) read an `app.yaml` too.
 */
export function findAppFiles(paths: Iterable<string>): FoundAppFiles {
  const directories = new Set<string>();
  const tooDeep: string[] = [];
  for (const path of paths) {
    const parts = path.split('/');
    const name = parts.pop() ?? '';
    if (!appFileNames.includes(name)) continue;
    if (parts.length === 0) directories.add('');
    else if (!/^App\.ya?ml$/.test(name) || parts.some(isForeignFolder)) continue;
    else if (parts.length > maxAppFileDepth) tooDeep.push(path);
    else directories.add(parts.join('/'));
  }
  return { directories: [...directories].toSorted((a, b) => (a < b ? -1 : 1)), tooDeep };
}

/** Whether nobody looks for applications there. */
export function isForeignFolder(folder: string): boolean {
  return folder.startsWith('.') || foreign.includes(folder);
}
