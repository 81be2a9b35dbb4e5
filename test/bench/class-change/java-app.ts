import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fixedBytes } from './fixed-bytes.ts';

const libraries = 60;
const libraryBytes = 1_000_000;
const classes = 400;
const classBytes = 5_000;

/** Where the class that changes lies. */
export const changedClass = 'classes/com/example/p0/C0.class';

export interface JavaAppOptions {
  /** As in App.yaml. */
  readonly base: string;
  readonly appname: string;
}

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

/** The same size of an app as source code, which a build in the catalog's JDK compiles. */
export async function writeJavaSource(folder: string, options: JavaAppOptions): Promise<void> {
  const build = [
    'build:',
    '  commands: ["mkdir classes", "javac -d classes $(find src -name \'*.java\')"]',
    `  outputs: { classes: /home/${options.appname}/classes/ }`,
    'source: { include: ["lib/**"] }',
  ];
  await writeFile(await place(folder, 'App.yaml'), `${appFile(options)}${build.join('\n')}\n`);
  await writeLibraries(folder);
  for (let index = 0; index < classes; index++) {
    await writeFile(await place(folder, sourceName(index)), sourceFile(index, 'first'));
  }
}

export async function changeSource(folder: string, version: string): Promise<void> {
  await writeFile(join(folder, sourceName(0)), sourceFile(0, version));
}

function appFile({ base, appname }: JavaAppOptions): string {
  return `appname: ${appname}\nbase: ${base}\nentrypoints:\n  web:\n    cmd: java -cp classes:lib/* com.example.Main\n    ports: ["8080/http"]\n`;
}

async function writeLibraries(folder: string): Promise<void> {
  for (let index = 0; index < libraries; index++) {
    const name = `lib/library-${index}-1.0.jar`;
    await writeFile(await place(folder, name), fixedBytes(name, libraryBytes));
  }
}

function sourceName(index: number): string {
  return `src/com/example/p${index % 20}/C${index}.java`;
}

function sourceFile(index: number, version: string): string {
  const methods = Array.from(
    { length: 20 },
    (_, method) =>
      `  public static String m${method}(String a) { return a + "${index} ${method} ${version}"; }`,
  );
  return `package com.example.p${index % 20};\n\npublic class C${index} {\n${methods.join('\n')}\n}\n`;
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
