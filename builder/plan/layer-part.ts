/**
 * The parts of an app by how often they change, rarest first. Each that holds something is a layer of its own: a changed class does
 * not have the libraries beside it read, compressed, stored and pulled once more.
 */
export const layerParts = ['dependencies', 'resources', 'app'] as const;

export type LayerPart = (typeof layerParts)[number];

/** All that lies below one of these came from a package manager. */
const packageDirectories = new Set([
  'bower_components',
  'vendor',
  'site-packages',
  'dist-packages',
  'venv',
  '.venv',
  '.m2',
]);
/** Beside libraries these hold source code in many projects, so only files that are libraries count. */
const libraryDirectories = new Set(['lib', 'lib64', 'libs', 'dependency', 'dependencies']);
const library = /\.(?:jar|aar|nar|whl|egg|dll|dylib|so(?:\.[0-9.]+)?)$/;
/** What nobody edits line by line. */
const resource =
  /\.(?:png|jpe?g|gif|webp|avif|bmp|ico|tiff?|[ot]tf|eot|woff2?|mp[34]|m4a|ogg|flac|wav|webm|mov|pdf|zip|gz|xz|bz2|zst)$/i;

/**
 * The part of one file, by nothing but its path relative to the app's directory, so that the same file is in the same layer on every
 * machine and in every build. What is taken for the wrong part costs time and is never wrong otherwise.
 */
export function layerPart(path: string, appname: string): LayerPart {
  const directories = path.split('/');
  const name = directories.pop() ?? '';
  // Written by whatever interpreter was there, with the time of the source in it.
  if (directories.includes('__pycache__')) return 'app';
  const modules = directories.indexOf('node_modules');
  if (modules >= 0) return isNoteOfPackageManager(directories[modules + 1] ?? name) ? 'app' : 'dependencies';
  if (directories.some((directory) => packageDirectories.has(directory))) return 'dependencies';
  if (library.test(name) && directories.some((directory) => libraryDirectories.has(directory))) {
    return isOwnLibrary(name, appname) ? 'app' : 'dependencies';
  }
  return resource.test(name) ? 'resources' : 'app';
}

/** `node_modules/.cache`, `.package-lock.json`, pnpm's `.modules.yaml` with its date; `.bin` and `.pnpm` are the packages themselves. */
function isNoteOfPackageManager(name: string): boolean {
  return name.startsWith('.') && name !== '.bin' && name !== '.pnpm';
}

/** Build tools lay the project's own archives beside those of others: `lib/shop-1.2.jar`, `lib/common-1.2-SNAPSHOT.jar`. */
function isOwnLibrary(name: string, appname: string): boolean {
  return (
    name.includes('-SNAPSHOT') || (name.startsWith(appname) && /^[-_.]/.test(name.slice(appname.length)))
  );
}
