import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { Option } from 'commander';
import type { AppFileResult } from '../../builder/appfile/appfile.ts';
import { findAppFile, maxAppFileBytes, parseAppFile } from '../../builder/appfile/parse-appfile.ts';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';

/** The App.yaml that a command was pointed at, read and checked. */
export interface AppFileInput {
  readonly result: AppFileResult;
  /** The project's top. */
  readonly directory: string;
  /** Names of the files there. */
  readonly names: readonly string[];
}

/** An App.yaml before it is parsed. */
export interface AppFileBytes {
  /** As messages name it. */
  readonly shown: string;
  readonly file: string;
  readonly directory: string;
  readonly bytes: Uint8Array;
}

/** `--default-base`: what the server that will build gives to files without a base; a file alone cannot tell. */
export function defaultBaseOption(): Option {
  const description =
    'base image that the server gives to files without one (or BRICKYARD_BUILDER_DEFAULT_BASE)';
  return new Option('--default-base <name>', description);
}

/** The option, or the variable that configures the same on a server. */
export function defaultBaseOf(
  context: CliContext,
  options: { readonly defaultBase?: string },
): string | undefined {
  return options.defaultBase ?? (context.env['BRICKYARD_BUILDER_DEFAULT_BASE'] || undefined);
}

/** As `readAppFileBytes`, parsed. */
export function readAppFileInput(context: CliContext, path: string | undefined): AppFileInput {
  const { shown, bytes, directory } = readAppFileBytes(context, path);
  const result = parseAppFile(shown, bytes, { defaultAppName: basename(directory) });
  return { result, directory, names: readdirSync(directory) };
}

/** `path` is an App.yaml or the directory that holds one; default: the current directory. Errors: UserError when there is none, or two. */
export function readAppFileBytes(context: CliContext, path: string | undefined): AppFileBytes {
  const target = resolve(context.cwd, path ?? '.');
  let directory: string;
  let file: string;
  try {
    if (statSync(target).isDirectory()) {
      directory = target;
      const found = findAppFile(readdirSync(target));
      if (found === undefined) {
        throw new UserError(`there is no App.yaml in ${target}: "brickyard init" proposes one`);
      }
      const [other] = found.others;
      if (other !== undefined) {
        throw new UserError(
          `there are ${found.name} and ${other}, and only one of them can count: remove one`,
        );
      }
      file = join(target, found.name);
    } else {
      directory = dirname(target);
      file = target;
    }
    const size = statSync(file).size;
    // Read a little of what is too large: the parser then says so by its own rules.
    const bytes = size > maxAppFileBytes ? new Uint8Array(maxAppFileBytes + 1) : readFileSync(file);
    const shown =
      path === undefined || path === '.' ? basename(file) : join(path, target === file ? '' : basename(file));
    return { shown, file, directory, bytes };
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`cannot read ${path ?? '.'}: ${(error as Error).message}`, {
      cause: error,
      exitCode: 2,
    });
  }
}
