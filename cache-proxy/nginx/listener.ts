import type { Directive } from './render.ts';

export interface Listener {
  readonly listen: string;
  /** Undefined: plain HTTP. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

/** Where a server listens, with TLS where there is a certificate. Values must have been checked. */
export function listener({ listen, tls }: Listener): Directive[] {
  // Every address means those of IPv4 too, as it does for the server itself.
  const family = listen.startsWith('[::]:') ? ' ipv6only=off' : '';
  if (tls === undefined) return [['listen', `${listen}${family}`]];
  return [
    ['listen', `${listen} ssl http2${family}`],
    ['ssl_certificate', tls.certificate],
    ['ssl_certificate_key', tls.key],
    ['ssl_protocols', 'TLSv1.2 TLSv1.3'],
    // TLS 1.2 with forward secrecy and authenticated encryption only; TLS 1.3 has nothing else.
    [
      'ssl_ciphers',
      'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305',
    ],
    ['ssl_prefer_server_ciphers', 'off'],
    ['ssl_session_cache', 'shared:brickyard_tls:10m'],
    ['ssl_session_timeout', '1d'],
    ['ssl_session_tickets', 'off'],
  ];
}
