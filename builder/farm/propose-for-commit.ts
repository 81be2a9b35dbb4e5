import { initText, proposeAppFile } from '../appfile/propose.ts';
import type { SourceTree } from '../plan/source-tree.ts';

/** Files at the top of a project that a proposal may look into. */
const telling = ['package.json', 'requirements.txt', 'pyproject.toml', 'Procfile', 'index.html'];
const largest = 256 * 1024;

/** What a push without App.yaml prints. */
export async function proposeForCommit(input: {
  app: string;
  source: SourceTree;
  fileNames: readonly string[];
}): Promise<string> {
  const texts = new Map<string, string>();
  for (const name of telling) {
    if (!input.fileNames.includes(name)) continue;
    // A folder, a link or a huge file of that name tells nothing.
    const bytes = await input.source.readFile(name, largest).catch(() => undefined);
    if (bytes !== undefined) texts.set(name, bytes.toString('utf8'));
  }
  const project = { names: input.fileNames, read: (name: string) => texts.get(name) };
  return initText(proposeAppFile(project, input.app));
}
