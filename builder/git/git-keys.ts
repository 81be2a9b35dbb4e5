/** All object keys of the git host. Team and app were checked as a repository name. */
export const gitKeys = {
  refs: (team: string, app: string): string => `git/${team}/${app}/refs`,
  pack: (team: string, app: string, id: string): string => `git/${team}/${app}/packs/${id}`,
  /** What git's index of that pack says; may be missing. */
  packIndex: (team: string, app: string, id: string): string => `git/${team}/${app}/indexes/${id}`,
  /** "Something was pushed here and perhaps not announced": written before the refs move, removed after. */
  intent: (id: string): string => `git-intents/${id}`,
  intents: 'git-intents/',
} as const;
