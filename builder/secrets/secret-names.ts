import { refuseRepository } from '../git/git-path.ts';

/** Bytes of one value; a certificate with its chain and key has about 10,000. */
export const maxSecretBytes = 64 * 1024;
/** Shorter values could not be told from ordinary text in logs and outputs. */
export const minSecretBytes = 8;
/** Secrets of one application. */
export const maxSecrets = 100;

/** Stands in a file's name and in a Dockerfile: nothing in it needs quotes there. */
export const secretNamePattern = '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$';

const namePattern = new RegExp(secretNamePattern);

export function isSecretName(name: string): boolean {
  return namePattern.test(name);
}

/** Why nobody can have secrets for this git repository; undefined when it is fine. */
export function refuseOwner(team: string, app: string): string | undefined {
  return refuseRepository(team, app)?.refused;
}
