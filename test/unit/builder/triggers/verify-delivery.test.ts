import { createHmac } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { Provider } from '../../../../builder/triggers/trigger.ts';
import { type RawDelivery, verifyDelivery } from '../../../../builder/triggers/verify-delivery.ts';
import { raw, trigger } from './fixture.ts';
import {
  generic,
  gitea,
  giteaPush,
  github,
  githubPush,
  gitlab,
  gitlabPush,
  newSecret,
  type Sent,
  secret,
} from './payloads.ts';

const genericPush = { updates: [{ ref: 'refs/heads/main', old: '0'.repeat(40), new: 'a'.repeat(40) }] };

const good: readonly (readonly [Provider, (key?: string) => Sent])[] = [
  ['github', (key) => github('push', githubPush, key)],
  ['gitlab', (key) => gitlab('Push Hook', gitlabPush, key)],
  ['gitea', (key) => gitea('push', giteaPush, key)],
  ['generic', (key) => generic(genericPush, key === undefined ? {} : { key })],
];

function without(delivery: RawDelivery, ...names: string[]): RawDelivery {
  const headers = Object.fromEntries(
    Object.entries(delivery.headers).filter(([name]) => !names.includes(name)),
  );
  return { ...delivery, headers, rawHeaders: Object.entries(headers).flat() as string[] };
}

function refusalOf(delivery: RawDelivery, triggers = [trigger(delivery.provider)]): string {
  const verdict = verifyDelivery(delivery, triggers);
  return 'refused' in verdict ? verdict.refused : 'it was taken';
}

describe('the signature of a webhook', () => {
  it.each(good)('of %s is taken over the bytes as they came', (provider, make) => {
    const record = trigger(provider);

    expect(verifyDelivery(raw(provider, make()), [record])).toMatchObject({ triggers: [record] });
  });

  it.each(good)('of %s fits either of two secrets while they are changed', (provider, make) => {
    const both = trigger(provider, { secrets: [secret, newSecret] });

    expect(verifyDelivery(raw(provider, make(secret)), [both])).toMatchObject({ triggers: [both] });
    expect(verifyDelivery(raw(provider, make(newSecret)), [both])).toMatchObject({ triggers: [both] });
    expect(refusalOf(raw(provider, make(newSecret)))).toMatch(/fits no secret of a .* trigger/);
  });

  it.each(good)(
    'of %s chooses among the triggers by their secrets, and only among those of the provider',
    (provider, make) => {
      const mine = trigger(provider, { app: 'mine', secrets: [newSecret] });
      const others: Provider = provider === 'github' ? 'gitea' : 'github';
      const triggers = [trigger(provider), mine, trigger(others, { secrets: [newSecret] })];

      expect(verifyDelivery(raw(provider, make(newSecret)), triggers)).toMatchObject({ triggers: [mine] });
      expect(refusalOf(raw(provider, make()), [trigger(others)])).toMatch(/fits no secret/);
      expect(refusalOf(raw(provider, make()), [])).toMatch(/fits no secret/);
    },
  );

  it.each(good)('that %s did not send is missing', (provider, make) => {
    const names = ['x-hub-signature-256', 'x-gitea-signature', 'x-gitlab-token', 'x-brickyard-signature'];

    expect(refusalOf(without(raw(provider, make()), ...names))).toMatch(/there is no x-/);
  });

  it.each(good.filter(([provider]) => provider !== 'gitlab'))(
    'of %s fits no body with another byte, encoded anew or cut short',
    (provider, make) => {
      const delivery = raw(provider, make());
      const bodies = [
        Buffer.concat([delivery.body, Buffer.from(' ')]),
        Buffer.from(JSON.stringify(JSON.parse(delivery.body.toString()), undefined, 1)),
        delivery.body.subarray(0, -1),
        Buffer.alloc(0),
      ];

      for (const body of bodies) expect(refusalOf({ ...delivery, body })).toMatch(/fits no secret/);
    },
  );

  it.each(good)('of %s is not taken twice in one request, also when both are right', (provider, make) => {
    const delivery = raw(provider, make());
    const name =
      Object.keys(delivery.headers).find((each) =>
        /signature-256|gitea-signature|token|brickyard-signature/.test(each),
      ) ?? '';
    const twice = [...delivery.rawHeaders, name.toUpperCase(), String(delivery.headers[name])];

    expect(refusalOf({ ...delivery, rawHeaders: twice })).toMatch(/is there twice/);
  });

  it('with an event that is there twice is refused: which one was meant?', () => {
    const delivery = raw('github', github('push', githubPush));

    expect(
      refusalOf({ ...delivery, rawHeaders: [...delivery.rawHeaders, 'X-GitHub-Event', 'ping'] }),
    ).toMatch(/x-github-event is there twice/);
  });

  it('of SHA-1 alone is not taken', () => {
    const delivery = without(raw('github', github('push', githubPush)), 'x-hub-signature-256');

    expect(refusalOf(delivery)).toMatch(/SHA-1/);
  });

  it.each([
    ['upper case', (hex: string) => hex.toUpperCase()],
    ['too short', (hex: string) => hex.slice(0, 62)],
    ['too long', (hex: string) => `${hex}00`],
    ['empty', () => ''],
    ['no hex', (hex: string) => `g${hex.slice(1)}`],
    ['with blanks', (hex: string) => ` ${hex} `],
    ['two of them', (hex: string) => `${hex}, ${hex}`],
  ])('in %s is refused before it is compared', (_, change) => {
    for (const [provider, name, prefix] of [
      ['github', 'x-hub-signature-256', 'sha256='],
      ['gitea', 'x-gitea-signature', ''],
      ['generic', 'x-brickyard-signature', 'sha256='],
    ] as const) {
      const sent = good.find(([each]) => each === provider)?.[1]() as Sent;
      const hex = String(sent.headers[name]).slice(prefix.length);

      expect(refusalOf(raw(provider, sent, { [name]: prefix + change(hex) }))).toMatch(/must be|there is no/);
    }
  });

  it('is that of the provider whose address it came to: Gitea’s bare hex is none of GitHub’s', () => {
    const { headers } = gitea('push', giteaPush);
    const delivery = raw('github', github('push', githubPush), {
      'x-hub-signature-256': String(headers['x-gitea-signature']),
    });

    expect(refusalOf(delivery)).toMatch(/must be sha256=/);
  });

  it('of Forgejo comes under its own name too', () => {
    const sent = gitea('push', giteaPush);
    const own = without(raw('gitea', sent), 'x-gitea-signature');
    const named = { ...own.headers, 'x-forgejo-signature': sent.headers['x-gitea-signature'] };

    expect(refusalOf({ ...own, headers: named })).toBe('it was taken');
  });

  it('of a compressed body is refused, whatever was signed', () => {
    const body = gzipSync(JSON.stringify(githubPush));
    const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
    const sent = { ...github('push', githubPush), body };

    expect(
      refusalOf(raw('github', sent, { 'content-encoding': 'gzip', 'x-hub-signature-256': signature })),
    ).toMatch(/Content-Encoding gzip/);
  });

  it('costs the same work wherever it differs: digests of one length are compared with all secrets', () => {
    const longer = raw('gitlab', gitlab('Push Hook', gitlabPush, `${secret}${secret}`));
    const start = raw('gitlab', gitlab('Push Hook', gitlabPush, secret.slice(0, -1)));

    expect(refusalOf(longer)).toMatch(/fits no secret/);
    expect(refusalOf(start)).toMatch(/fits no secret/);
  });
});

describe('the time of a generic webhook', () => {
  it('may be five minutes off, and no more', () => {
    const now = Date.now();
    const sent = (time: number): RawDelivery => raw('generic', generic(genericPush, { time }));

    expect(refusalOf(sent(now - 290_000))).toBe('it was taken');
    expect(refusalOf(sent(now + 290_000))).toBe('it was taken');
    expect(refusalOf(sent(now - 310_000))).toMatch(/too far from this server's clock/);
    expect(refusalOf(sent(now + 310_000))).toMatch(/too far from this server's clock/);
  });

  it('and its nonce are signed, so neither can be changed', () => {
    const sent = generic(genericPush);
    const later = String(Number(sent.headers['x-brickyard-timestamp']) + 1);

    expect(refusalOf(raw('generic', sent, { 'x-brickyard-timestamp': later }))).toMatch(/fits no secret/);
    expect(refusalOf(raw('generic', sent, { 'x-brickyard-nonce': 'another-nonce-1234' }))).toMatch(
      /fits no secret/,
    );
    expect(refusalOf(raw('generic', sent, { 'x-brickyard-nonce': 'short' }))).toMatch(/16 to 64 characters/);
    expect(refusalOf(raw('generic', sent, { 'x-brickyard-timestamp': 'now' }))).toMatch(/seconds since 1970/);
  });
});
