import { describe, expect, it } from 'vitest';
import { parseAppFile } from '../../../../builder/appfile/parse-appfile.ts';
import { type OddFiles, sourceFaults } from '../../../../builder/plan/source-faults.ts';

function faultsOf(lines: string, odd: Partial<OddFiles>, dockerignore?: string): string[] {
  const text = `appname: shop\nbase: nodejs:26\nentrypoints: {web: {cmd: x}}\n${lines}\n`;
  const all = { submodules: [], pointers: [], ...odd };
  return sourceFaults(parseAppFile('App.yaml', text), all, dockerignore).map(
    (fault) => `${fault.line}:${fault.column} ${fault.code} ${fault.message} (${fault.hint})`,
  );
}

describe('what git does not bring (builder.md 6, rows 16 and 17)', () => {
  it('is an error that says what to do', () => {
    expect(faultsOf('', { submodules: ['lib/x'], pointers: ['model.bin'] })).toEqual([
      expect.stringMatching(
        /^1:1 E024 "lib\/x" is a git submodule.*commit its files.*source: \{ exclude: \["lib\/x"\] \}/,
      ),
      expect.stringMatching(/^1:1 E024 "model.bin" is kept by Git LFS.*git lfs untrack/),
    ]);
  });

  it('stands at source where the file has it', () => {
    expect(faultsOf('source: {include: [lib]}', { submodules: ['lib/x', 'other'] })[0]).toMatch(
      /^4:1 E024 "lib/,
    );
    expect(faultsOf('source: {include: [lib]}', { submodules: ['lib/x', 'other'] })).toHaveLength(1);
  });

  it('is no fault where it is left out', () => {
    const odd = { submodules: ['lib/x'], pointers: ['lib/model.bin'] };

    expect(faultsOf('source: {exclude: [lib]}', odd)).toEqual([]);
    expect(faultsOf('', odd, 'lib\n')).toEqual([]);
  });

  it('counts for commands too, but a pointer that only they see does not', () => {
    const odd = { submodules: ['lib/x'], pointers: ['model.bin'] };
    const build = 'build: {commands: [make], outputs: {dist: /home/shop/dist}}';

    expect(faultsOf(build, odd)).toEqual([expect.stringContaining('"lib/x"')]);
  });

  it('is named ten times and then counted', () => {
    const submodules = Array.from({ length: 15 }, (_, index) => `m${index}`);

    expect(faultsOf('', { submodules }).at(-1)).toContain('5 more files');
    expect(faultsOf('', { submodules })).toHaveLength(11);
  });
});
