import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fixedBytes } from './fixed-bytes.ts';

const libraries = 60;
const libraryBytes = 1_000_000;
const classes = 400;
const classBytes = 5_000;

/** Where the class that changes lies. */
export const changedClass = 'classes/com/example/p0/C0.class';

/** A Java app of 60 MB of libraries and 2 MB of compiled classes, as its build tool leaves it and as it is committed. */
export async function writeJavaApp(
  folder: string,
  options: { base: string; appname: string },
): Promise<void> {
  await writeFile(
    await place(folder, 'App.yaml'),
    `appname: ${options.appname}\nbase: ${options.base}\nentrypoints:\n  web:\n    cmd: java -cp classes:lib/* com.example.Main\n    ports: ["8080/http"]\n`,
  );
  for (let index = 0; index < libraries; index++) {
    const name = `lib/library-${index}-1.0.jar`;
    await writeFile(await place(folder, name), fixedBytes(name, libraryBytes));
  }
  for (let index = 0; index < classes; index++) {
    const name = `classes/com/example/p${index % 20}/C${index}.class`;
    await writeFile(await place(folder, name), classFile(name));
  }
}

/** What a compiler would have written: another content of the same size, for each `version` another one. */
export async function changeClass(folder: string, version: string): Promise<void> {
  await writeFile(join(folder, changedClass), classFile(version));
}

/** Classes compress to about half. */
function classFile(seed: string): Buffer {
  const bytes = Buffer.alloc(classBytes);
  Buffer.concat([...fixedBytes(seed, classBytes / 2)]).copy(bytes);
  bytes.writeUInt32BE(0xcafebabe);
  return bytes;
}

async function place(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  return path;
}
