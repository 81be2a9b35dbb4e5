import { parseKeys } from '../builder/secrets/keyring.ts';
import { Type } from '../core/type.ts';
import { fault } from './config-checks.ts';

/** How secrets of builds are kept; the part `builder.secrets` of `brickyard.yaml`. See docs/secrets.md. */
export const secretsSchema = Type.Object({
  key: Type.Optional(
    Type.String({
      description:
        'Key that encrypts the secrets of builds: base64 of 32 bytes (`openssl rand -base64 32`), the same on every server. Several, parted by blanks or lines: the first encrypts, the others still decrypt.',
      'x-secret': true,
      'x-check': (value: string) => {
        const keys = parseKeys(value);
        return typeof keys === 'string' ? fault(keys) : [];
      },
    }),
  ),
});
