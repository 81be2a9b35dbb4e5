import { expect, it } from 'vitest';
import { Pair, Scalar, type YAMLMap } from 'yaml';
import { parseEditableDocument } from '../../../../core/document/parse-document.ts';

const text = '# head\nold: 5 # five\n';

it('a changed document has new values, and places in the old text', () => {
  const editable = parseEditableDocument('a.yaml', text);
  const edited = editable.change((tree) => {
    const [pair] = (tree.contents as YAMLMap<Scalar, Scalar>).items;
    if (pair !== undefined) pair.key.value = 'new';
  });

  expect(edited?.document.value).toEqual({ new: 5 });
  expect(edited?.document.fault(['new'], { code: 'X', message: 'm' })).toMatchObject({ line: 2, column: 6 });
  expect(edited?.print()).toBe('# head\nnew: 5 # five\n');
  expect(editable.document.value).toEqual({ old: 5 });
  expect(editable.document.fault(['old'], { code: 'X', message: 'm', at: 'key' })).toMatchObject({
    line: 2,
    column: 1,
  });
});

it('an edit that makes a key stand twice is a fault', () => {
  const edited = parseEditableDocument('a.yaml', text).change((tree) => {
    (tree.contents as YAMLMap).items.push(new Pair(new Scalar('old'), new Scalar(1)));
  });

  expect(edited?.document.faults).toMatchObject([{ code: 'E003', line: 1 }]);
});

it.each(['a: [', '\0', '%X\n---\na: b'])('there is nothing to change in %j', (bad) => {
  expect(parseEditableDocument('a.yaml', bad).change(() => {})).toBeUndefined();
});
