import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { frontConfig } from '../../../../cache-proxy/nginx/front-config.ts';
import {
  checkFront,
  type FrontBytes,
  type FrontModel,
  frontFaults,
} from '../../../../cache-proxy/nginx/front-model.ts';
import { renderNginx } from '../../../../cache-proxy/nginx/render.ts';

const files: FrontBytes = { kind: 'files', folder: '/var/lib/brickyard/store/objects' };
const s3: FrontBytes = {
  kind: 's3',
  store: 'http://s3.test:9000',
  cache: { folder: '/var/cache/brickyard', maxSize: '200g', minFree: '20g', inactive: '30d' },
};
const tls = { certificate: '/etc/tls/full-chain.pem', key: '/etc/tls/key.pem' };

function model(changes: Partial<FrontModel> = {}): FrontModel {
  return {
    folder: '/run/front',
    listen: '0.0.0.0:443',
    serverName: 'registry.example.com',
    tls,
    allowPlain: false,
    replicas: ['10.0.0.5:5000', 'replica-2.example.com:5000', '[2001:db8::7]:5000'],
    prefix: '/_bytes/',
    bytes: files,
    ...changes,
  };
}

function render(changes: Partial<FrontModel> = {}): string {
  return renderNginx(frontConfig(checkFront(model(changes))));
}

/** The text of one block, without what is around it. */
function block(text: string, head: string): string {
  const start = text.indexOf(`${head} {`);
  expect(start, head).toBeGreaterThan(0);
  const indent = text.slice(text.lastIndexOf('\n', start) + 1, start);
  return text.slice(start, text.indexOf(`\n${indent}}`, start));
}

describe('the configuration of nginx in front', () => {
  it.each([
    ['files', { bytes: files }],
    ['s3', { bytes: s3, user: 'www-data' }],
  ])('is, for blobs from %s, the one that is written down', (name, changes) => {
    const golden = readFileSync(join(import.meta.dirname, `golden/${name}.conf`), 'utf8');

    expect(render(changes)).toBe(golden);
  });

  it('tells replicas what it can send only where a blob is asked for, and never what a client says of that', () => {
    for (const [bytes, announced] of [
      [files, 'files'],
      [s3, 's3'],
      [{ kind: 'none' } as const, '""'],
    ] as const) {
      const text = render({ bytes });

      expect(block(text, 'location ~ "^/v2/.+/blobs/sha[0-9]+:[0-9a-f]+$"')).toContain(
        `proxy_set_header X-Brickyard-Front ${announced};`,
      );
      expect(block(text, 'location /')).toContain('proxy_set_header X-Brickyard-Front "";');
      expect(block(text, 'location /')).toContain('proxy_ignore_headers X-Accel-Redirect');
    }
  });

  it('opens what lies under the internal prefix to nobody outside', () => {
    for (const bytes of [files, s3, { kind: 's3', store: 'https://s3.test' } as const]) {
      const text = render({ bytes });
      const heads = [...text.matchAll(/location (\S+ )?\/_bytes\/[^ ]*/g)].map(([head]) => head);

      expect(heads).toHaveLength(2);
      for (const head of heads) expect(block(text, head)).toContain('internal;');
    }
    expect(render({ bytes: { kind: 'none' } })).not.toContain('/_bytes/');
  });

  it('asks one store only, checks its certificate, and sends it nothing of the client’s', () => {
    const text = render({ bytes: { kind: 's3', store: 'https://bucket.s3.test', resolver: ['192.0.2.53'] } });
    const location = block(text, 'location ^~ /_bytes/https/bucket.s3.test/');

    expect(location).toContain('set $blob_store "https://bucket.s3.test:443";');
    expect(location).toContain('proxy_pass $blob_store$uri$is_args$args;');
    expect(location).toContain('proxy_set_header Host bucket.s3.test;');
    expect(location).toContain('proxy_pass_request_headers off;');
    expect(location).toContain('proxy_ssl_verify on;');
    expect(location).toContain('proxy_ssl_name bucket.s3.test;');
    expect(location).toContain('resolver 192.0.2.53;');
  });

  it('takes nobody’s word for who the client is, unless something else stands before it', () => {
    const { tls: _, ...plain } = model({ allowPlain: true });

    expect(render()).toContain('X-Forwarded-For $remote_addr;');
    expect(render()).not.toContain('proxy_add');
    expect(renderNginx(frontConfig(plain))).toContain('X-Forwarded-For $proxy_add_x_forwarded_for;');
  });

  it('listens on IPv4 too where it listens on every address', () => {
    expect(render({ listen: '[::]:443' })).toContain('listen [::]:443 ssl http2 ipv6only=off;');
    expect(render({ listen: '[::1]:443' })).toContain('listen [::1]:443 ssl http2;');
  });

  it('speaks plain HTTP on loopback, and elsewhere only when told to', () => {
    const { tls: _, ...plain } = model({ listen: '127.0.0.1:8080' });
    expect(frontFaults(plain)).toEqual([]);
    expect(frontFaults({ ...plain, listen: '[::1]:8080' })).toEqual([]);
    expect(frontFaults({ ...plain, listen: '10.0.0.1:8080', allowPlain: true })).toEqual([]);
    expect(frontFaults({ ...plain, listen: '10.0.0.1:8080' })).toMatchObject([{ field: 'tls' }]);
  });
});

const hostile = [
  'evil; } server { listen 1; ',
  'a;b',
  'a}b',
  'a{b',
  'a b',
  'a\tb',
  'a\nb',
  'a\rb',
  'a"b',
  "a'b",
  'a\\b',
  'a$host',
  '#a',
  'a`b',
  '',
  '..',
  'ünïcode',
  'a\0b',
];

/** Every value that somebody may set, as a model that holds it there. */
const places: Record<string, (value: string) => Partial<FrontModel>> = {
  folder: (value) => ({ folder: value }),
  user: (value) => ({ user: value }),
  listen: (value) => ({ listen: value }),
  serverName: (value) => ({ serverName: value }),
  'tls.certificate': (value) => ({ tls: { ...tls, certificate: value } }),
  'tls.key': (value) => ({ tls: { ...tls, key: value } }),
  'replicas[1]': (value) => ({ replicas: ['10.0.0.5:5000', value] }),
  prefix: (value) => ({ prefix: value }),
  'bytes.folder': (value) => ({ bytes: { kind: 'files', folder: value } }),
  'store.url': (value) => ({ bytes: { kind: 's3', store: value } }),
  'store.ca': (value) => ({ bytes: { kind: 's3', store: 'https://s3.test', ca: value } }),
  'store.resolver[0]': (value) => ({ bytes: { kind: 's3', store: 'https://s3.test', resolver: [value] } }),
  'cache.folder': (value) => ({ bytes: { ...s3, cache: { ...s3.cache, folder: value } } as FrontBytes }),
  'cache.maxSize': (value) => ({ bytes: { ...s3, cache: { ...s3.cache, maxSize: value } } as FrontBytes }),
  'cache.minFree': (value) => ({ bytes: { ...s3, cache: { ...s3.cache, minFree: value } } as FrontBytes }),
  'cache.inactive': (value) => ({ bytes: { ...s3, cache: { ...s3.cache, inactive: value } } as FrontBytes }),
};

describe('a hostile value', () => {
  it.each(Object.entries(places))('is refused as front.%s, and the place is named', (field, place) => {
    for (const text of hostile) {
      for (const value of [
        text,
        `/${text}`,
        `10.0.0.1:5000${text === '' ? ' ' : text}`,
        `https://s3.test/${text}x`,
      ]) {
        const faults = frontFaults(model(place(value)));
        // The one thing that a part of the list may be elsewhere.
        if (field === 'serverName' && value === 'a') continue;

        expect(
          faults.map((fault) => fault.field),
          `${field}: ${JSON.stringify(value)}`,
        ).toContain(field);
        expect(() => checkFront(model(place(value)))).toThrow(`front.${field}: `);
      }
    }
  });

  it.each([
    ['10.0.0.5:5000', true],
    ['10.0.0.5', false],
    ['10.0.0.5:0', false],
    ['10.0.0.5:65536', false],
    ['replica:5000', true],
    ['-replica:5000', false],
    ['[::1]:5000', true],
    ['::1:5000', false],
    ['[fe80::1%eth0]:5000', false],
    ['unix:/run/socket', false],
    ['user@host:5000', false],
  ])('the replica %s: %s', (replica, fits) => {
    expect(frontFaults(model({ replicas: [replica] })).length === 0).toBe(fits);
  });

  it('names all faults at once', () => {
    const wrong = model({ folder: 'front', replicas: [], prefix: '/v2/' });

    expect(frontFaults(wrong).map(({ field }) => field)).toEqual(['folder', 'prefix', 'replicas']);
    expect(frontFaults(model({ replicas: ['a:1', 'a:1'] }))).toMatchObject([{ field: 'replicas' }]);
  });

  it('would not get past the writer either', () => {
    for (const value of hostile.filter((text) => /[;{}"'\\#\n\r\t]/.test(text))) {
      expect(() => renderNginx([['server_name', value]]), JSON.stringify(value)).toThrow(TypeError);
    }
    expect(() => renderNginx([['a b', 'c']])).toThrow(TypeError);
    expect(() => renderNginx([['location', '/', [['return', '200;']]]])).toThrow(TypeError);
    expect(renderNginx([['location', '~ "^/a{2};$"', []]])).toBe('location ~ "^/a{2};$" {\n}\n');
  });
});
