import { describe, expect, it } from 'vitest';
import { createAttemptLimiter } from '../../../../core/auth/attempt-limiter.ts';
import { InvalidCredentials, TooManyAttempts } from '../../../../core/auth/authenticator.ts';
import { type Bcrypt, BcryptBusy, createBcrypt } from '../../../../core/auth/bcrypt.ts';
import { bcryptCost } from '../../../../core/auth/htpasswd.ts';
import { createPasswordChecker } from '../../../../core/auth/password-checker.ts';

interface Comparison {
  readonly password: string;
  readonly hash: string;
}

/** Real bcrypt is covered below and by the integration tests; here the number of computations is what matters. */
function createCountingBcrypt(): Bcrypt & { readonly compared: Comparison[] } {
  const compared: Comparison[] = [];
  return {
    compared,
    compare: (password, hash) => {
      compared.push({ password, hash });
      return Promise.resolve(hash === `hash of ${password}`);
    },
    hash: (password) => Promise.resolve(`hash of ${password}`),
    close: () => Promise.resolve(),
  };
}

function setUp() {
  const users = new Map([['alice', 'hash of secret']]);
  const clock = { now: 0 };
  const bcrypt = createCountingBcrypt();
  const checker = createPasswordChecker({
    passwords: { find: (name) => users.get(name), cost: () => 12 },
    bcrypt,
    attempts: createAttemptLimiter({}, () => clock.now),
  });
  return { users, clock, bcrypt, checker };
}

describe('password checker', () => {
  it('a verified password costs one computation for many requests', async () => {
    const { checker, bcrypt } = setUp();

    await Promise.all(Array.from({ length: 20 }, () => checker.check('alice', 'secret')));
    await checker.check('alice', 'secret');

    expect(bcrypt.compared).toHaveLength(1);
  });

  it('a wrong password is never remembered as right, also not with the right one cached', async () => {
    const { checker } = setUp();

    await checker.check('alice', 'secret');

    await expect(checker.check('alice', 'wrong')).rejects.toThrow(InvalidCredentials);
    await expect(checker.check('bob', 'secret')).rejects.toThrow(InvalidCredentials);
  });

  it('a changed password or a removed account is out at once', async () => {
    const { checker, users } = setUp();
    await checker.check('alice', 'secret');

    users.set('alice', 'hash of other');
    await expect(checker.check('alice', 'secret')).rejects.toThrow(InvalidCredentials);
    await checker.check('alice', 'other');
    users.delete('alice');
    await expect(checker.check('alice', 'other')).rejects.toThrow(InvalidCredentials);
  });

  it('an unknown account takes the same computation as a known one', async () => {
    const { checker, bcrypt } = setUp();

    await expect(checker.check('nobody', 'guess')).rejects.toThrow(InvalidCredentials);

    expect(bcrypt.compared).toHaveLength(1);
    expect(bcryptCost(bcrypt.compared[0]?.hash ?? '')).toBe(12);
  });

  it('failed attempts of one account from one address end in 429, and others go on', async () => {
    const { checker, clock, users } = setUp();
    users.set('bob', 'hash of secret');
    for (let attempt = 0; attempt < 10; attempt += 1) {
      await expect(checker.check('alice', `guess ${attempt}`, '192.0.2.1')).rejects.not.toThrow(
        TooManyAttempts,
      );
    }

    const refused = checker.check('alice', 'secret', '192.0.2.1');
    await expect(refused).rejects.toThrow(TooManyAttempts);
    await expect(refused).rejects.toMatchObject({ retryAfter: 60 });
    await checker.check('bob', 'secret', '192.0.2.1');
    await checker.check('alice', 'secret', '192.0.2.2');
    clock.now += 61_000;
    await checker.check('alice', 'secret', '192.0.2.1');
  });

  it('one address cannot try a password on account after account', async () => {
    const { checker, users } = setUp();
    users.set('bob', 'hash of secret');
    for (let attempt = 0; attempt < 50; attempt += 1) {
      await expect(checker.check(`user${attempt}`, 'guess', '192.0.2.1')).rejects.toThrow(InvalidCredentials);
    }

    await expect(checker.check('bob', 'guess', '192.0.2.1')).rejects.toThrow(TooManyAttempts);
  });

  it('an IPv6 network counts as one address', async () => {
    const { checker } = setUp();
    for (let attempt = 0; attempt < 10; attempt += 1) {
      await expect(checker.check('alice', 'guess', `2001:db8:1:2::${attempt}`)).rejects.toThrow(
        InvalidCredentials,
      );
    }

    await expect(checker.check('alice', 'guess', '2001:db8:1:2:f:f:f:f')).rejects.toThrow(TooManyAttempts);
    await expect(checker.check('alice', 'guess', '2001:db8:1:3::1')).rejects.not.toThrow(TooManyAttempts);
  });

  it('somebody whose password is already verified is not locked out by a neighbour who guesses', async () => {
    const { checker } = setUp();
    await checker.check('alice', 'secret', '192.0.2.1');
    for (let attempt = 0; attempt < 20; attempt += 1) {
      await expect(checker.check('alice', 'guess', '192.0.2.1')).rejects.toThrow(InvalidCredentials);
    }

    await checker.check('alice', 'secret', '192.0.2.1');
  });

  it.each(['', 'x'.repeat(2000)])(
    'a password of an impossible length is refused without work',
    async (password) => {
      const { checker, bcrypt } = setUp();

      await expect(checker.check('alice', password)).rejects.toThrow(InvalidCredentials);

      expect(bcrypt.compared).toHaveLength(0);
    },
  );

  it('too much waiting work is told as 429', async () => {
    const { users } = setUp();
    const checker = createPasswordChecker({
      passwords: { find: (name) => users.get(name), cost: () => 10 },
      bcrypt: { ...createCountingBcrypt(), compare: () => Promise.reject(new BcryptBusy('busy')) },
      attempts: createAttemptLimiter(),
    });

    await expect(checker.check('alice', 'secret')).rejects.toThrow(TooManyAttempts);
  });
});

describe('bcrypt in its thread', () => {
  it('hashes and compares while timers go on, and refuses what is too much', async () => {
    const bcrypt = createBcrypt({ limit: 2 });
    try {
      const hash = await bcrypt.hash('secret', 8);
      let ticks = 0;
      const timer = setInterval(() => {
        ticks += 1;
      }, 1);

      const answers = Promise.all([bcrypt.compare('secret', hash), bcrypt.compare('wrong', hash)]);
      await expect(bcrypt.compare('secret', hash)).rejects.toThrow(BcryptBusy);

      expect(await answers).toEqual([true, false]);
      expect(ticks).toBeGreaterThan(2);
      clearInterval(timer);
    } finally {
      await bcrypt.close();
    }
  });

  it('the hash for unknown accounts makes bcrypt work as long as a real one', async () => {
    const bcrypt = createBcrypt();
    try {
      const seen: Comparison[] = [];
      const checker = createPasswordChecker({
        passwords: { find: () => undefined, cost: () => 9 },
        bcrypt: {
          ...bcrypt,
          compare: (password, hash) => {
            seen.push({ password, hash });
            return bcrypt.compare(password, hash);
          },
        },
        attempts: createAttemptLimiter(),
      });
      await expect(checker.check('nobody', 'guess')).rejects.toThrow(InvalidCredentials);
      const decoy = seen[0]?.hash ?? '';
      const started = performance.now();

      await bcrypt.compare('guess', decoy);

      // 2^9 rounds cannot be done in less; a hash of the wrong shape is refused within microseconds.
      expect(decoy).toHaveLength(60);
      expect(performance.now() - started).toBeGreaterThan(8);
    } finally {
      await bcrypt.close();
    }
  });
});
