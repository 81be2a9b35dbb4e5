import { readFileSync } from 'node:fs';
import { cp, mkdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { parseAppFile } from '../../../builder/appfile/parse-appfile.ts';
import { createBaseResolver } from '../../../builder/farm/resolve-base.ts';
import { planBuild } from '../../../builder/plan/plan-build.ts';
import type { Registry } from '../../../oci/registry.ts';
import { startDockerd, type TestDockerd } from '../../helpers/dockerd.ts';
import { buildGoProgram, craneProgram } from '../../helpers/go-program.ts';
import { writeDockerContext } from '../docker-context.ts';
import { run } from '../http.ts';
import type { BenchRegistry } from '../peers.ts';
import { changeClass } from './java-app.ts';
import { prepareJib } from './jib.ts';

/** One way from a changed class to an image that can be pulled. */
export interface Side {
  readonly name: string;
  /** Processes whose CPU time is this side's, beside the programs that `run` starts and the registry. */
  readonly daemons: readonly number[];
  /** False: it only appends a ready archive, so the promise does not speak of it. */
  readonly fromSource: boolean;
  /** What it has made: repository and tag. */
  image(): Promise<{ repository: string; tag: string }>;
  /** Changes the class; not measured. */
  change(version: string): Promise<void>;
  run(): Promise<void>;
  stop(): Promise<void>;
}

export interface SideOptions {
  readonly server: BenchRegistry;
  readonly registry: Registry;
  /** An app as `writeJavaApp` left it, to be copied. */
  readonly app: string;
  /** `repository:tag` of its base. */
  readonly base: string;
  /** Changes a copy of the app; default: one of its compiled classes. */
  readonly change?: (folder: string, version: string) => Promise<void>;
  readonly scratch: string;
  readonly say: (line: string) => void;
}

/** `git push` of the commit until it returns, which is when the image can be pulled. */
export async function gitPush(
  options: Omit<SideOptions, 'base' | 'say'> & { readonly appname: string },
): Promise<Side> {
  const { server, scratch, appname } = options;
  const folder = join(scratch, `git-${appname}`);
  await cp(options.app, folder, { recursive: true });
  const git = (...args: string[]): Promise<string> => run('git', args, { cwd: folder });
  await git('init', '--quiet', '--initial-branch=main');
  await git('config', 'user.name', 'Bench');
  await git('config', 'user.email', 'bench@localhost');
  return {
    name: 'Brickyard: git push',
    daemons: [],
    fromSource: true,
    image: async () => ({
      repository: `bench/${appname}`,
      tag: (await git('rev-parse', 'HEAD')).slice(0, 12),
    }),
    async change(version) {
      await (options.change ?? changeClass)(folder, version);
      await git('add', '--all');
      await git('commit', '--quiet', '--message', version);
    },
    run: async () => void (await git('push', '--quiet', `${server.url}/git/bench/${appname}.git`, 'main')),
    stop: async () => {},
  };
}

/** `docker build` of the Dockerfile that Brickyard prints, with a layer for each part too, and `docker push`; everything warm. */
export async function dockerBuild(
  options: Omit<SideOptions, 'base' | 'say'>,
  running?: TestDockerd,
): Promise<Side> {
  const engine = running ?? (await startDockerd());
  const env = { ...process.env, ...engine.env };
  const context = await writeContext(options, 'docker');
  const image = `${options.server.host}/bench/docker:main`;
  return {
    name: 'docker build + push',
    daemons: [Number(readFileSync(join(dirname(engine.socketPath), 'docker.pid'), 'utf8'))],
    fromSource: true,
    image: async () => ({ repository: 'bench/docker', tag: 'main' }),
    change: (version) =>
      options.change === undefined
        ? changeClass(join(context, 'app'), version)
        : options.change(join(context, 'workspace'), version),
    async run() {
      await run('docker', ['build', '--quiet', '--tag', image, context], { env });
      await run('docker', ['push', '--quiet', image], { env });
    },
    stop: async () => {
      if (running === undefined) await engine.stop();
    },
  };
}

export async function buildahBuild(options: SideOptions): Promise<Side> {
  const context = await writeContext(options, 'buildah');
  const storage = join(options.scratch, 'buildah-storage');
  const buildah = (...args: string[]): Promise<string> =>
    run('buildah', [`--root=${join(storage, 'root')}`, `--runroot=${join(storage, 'run')}`, ...args]);
  const local = 'localhost/shop:main';
  return {
    name: 'buildah bud --layers + push',
    daemons: [],
    fromSource: true,
    image: async () => ({ repository: 'bench/buildah', tag: 'main' }),
    change: (version) => changeClass(join(context, 'app'), version),
    async run() {
      await buildah(
        'bud',
        '--quiet',
        '--layers',
        '--isolation=chroot',
        '--tls-verify=false',
        '--tag',
        local,
        context,
      );
      await buildah(
        'push',
        '--quiet',
        '--tls-verify=false',
        local,
        `docker://${options.server.host}/bench/buildah:main`,
      );
    },
    async stop() {
      await run('umount', ['--recursive', join(storage, 'root/overlay')]).catch(() => {});
      await rm(storage, { recursive: true, force: true });
    },
  };
}

/** An archive of the classes, appended to an image that has base and libraries already. Undefined: this machine has no Go. */
export async function craneAppend(options: SideOptions): Promise<Side | undefined> {
  const crane = await buildGoProgram(craneProgram);
  if (crane === undefined) {
    options.say('without crane: this machine has no Go');
    return undefined;
  }
  const folder = join(options.scratch, 'crane');
  await cp(options.app, folder, { recursive: true });
  const { host } = options.server;
  const append = async (what: string, base: string, to: string): Promise<void> => {
    const archive = join(options.scratch, 'crane.tar.gz');
    await run('tar', ['-czf', archive, '--transform', 's,^,home/shop/,', '-C', folder, what]);
    await run(crane, ['append', '--insecure', '--base', base, '--new_layer', archive, '--new_tag', to]);
  };
  await append('lib', `${host}/${options.base}`, `${host}/bench/crane-base:main`);
  return {
    name: 'tar + crane append',
    daemons: [],
    fromSource: false,
    image: async () => ({ repository: 'bench/crane', tag: 'main' }),
    change: (version) => changeClass(folder, version),
    run: () => append('classes', `${host}/bench/crane-base:main`, `${host}/bench/crane:main`),
    stop: async () => {},
  };
}

/** Jib as its command line would be used, with warm caches. Undefined: this machine has no JDK or no Maven. */
export async function jibBuild(options: SideOptions): Promise<Side | undefined> {
  const program = await prepareJib(options.scratch, options.say);
  if (program === undefined) return undefined;
  const folder = join(options.scratch, 'jib-app');
  await cp(options.app, folder, { recursive: true });
  const { host } = options.server;
  const caches = join(options.scratch, 'jib-cache');
  return {
    name: 'jib (jib-core)',
    daemons: [],
    fromSource: true,
    image: async () => ({ repository: 'bench/jib', tag: 'main' }),
    change: (version) => changeClass(folder, version),
    run: async () =>
      void (await run('java', [
        ...program,
        `${host}/${options.base}`,
        `${host}/bench/jib:main`,
        folder,
        caches,
      ])),
    stop: async () => {},
  };
}

async function writeContext(options: Omit<SideOptions, 'base' | 'say'>, name: string): Promise<string> {
  const appfile = parseAppFile('App.yaml', readFileSync(join(options.app, 'App.yaml')));
  const resolveBase = createBaseResolver(options.registry);
  const { plan } = await planBuild({ appfile, team: 'bench', resolveBase });
  if (plan === undefined) throw new Error('the app has no plan');
  const context = join(options.scratch, `context-${name}-${basename(options.app)}`);
  await mkdir(context);
  await writeDockerContext(options.app, context, { plan, host: options.server.host });
  return context;
}
