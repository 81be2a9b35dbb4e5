import { buffer } from 'node:stream/consumers';
import { expect } from 'vitest';
import { type Digest, digestOf } from '../../../oci/digest.ts';
import type { OciErrorCode } from '../../../oci/errors.ts';
import type { Registry } from '../../../oci/registry.ts';

export const small = Buffer.from('a small blob');
/** Larger than what any registry keeps beside its own records, and no multiple of anything. */
export const large = Buffer.from(
  Array.from({ length: 300_007 }, (_, index) => (index * 7 + (index >> 8)) & 0xff),
);
export const absent = digestOf('nobody ever pushed this');

/** Rejects with an OciError of this code; any other outcome is the test's failure. */
export async function expectCode(code: OciErrorCode, call: () => Promise<unknown>): Promise<void> {
  await expect(call()).rejects.toMatchObject({ code });
}

export async function read(registry: Registry, repository: string, digest: Digest): Promise<Buffer> {
  const { body, size } = await registry.getBlob(repository, digest);
  const content = await buffer(body);
  expect(size).toBe(content.length);
  return content;
}

/** Cut as a network cuts. */
export function pieces(content: Buffer): Buffer[] {
  const cut: Buffer[] = [];
  for (let at = 0; at < content.length; at += 65_521) cut.push(content.subarray(at, at + 65_521));
  return cut;
}

export async function allPages(
  list: (page: { limit: number; last?: string }) => Promise<{ entries: readonly string[]; next?: string }>,
  limit: number,
): Promise<string[]> {
  const all: string[] = [];
  let last: string | undefined;
  for (;;) {
    const page = await list(last === undefined ? { limit } : { limit, last });
    expect(page.entries.length).toBeLessThanOrEqual(limit);
    all.push(...page.entries);
    if (page.next === undefined) return all;
    last = page.next;
  }
}
