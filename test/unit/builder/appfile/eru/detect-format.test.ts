import { describe, expect, it } from 'vitest';
import { detectFormat } from '../../../../../builder/appfile/eru/detect-format.ts';
import { parseDocument } from '../../../../../core/document/parse-document.ts';

function detect(text: string): string {
  return detectFormat(parseDocument('app.yaml', text).value);
}

describe('detectFormat', () => {
  it.each([
    ['apiVersion: v1\nmeta: {a: b}', 'v1'],
    ['appname: a\nbase: b:1\nentrypoints: {web: {cmd: x, ports: ["80/tcp"]}}', 'v1'],
    ['appname: a\nbuild: make\nentrypoints: {web: {cmd: x}}', 'v1'],
    ['[a]', 'v1'],
    ['volumes: [/data]', 'v1'],
    ['meta: {a: b}', 'E1'],
    ['falcon-alarm: {}', 'E1'],
    ['binds: {/a: {bind: /b}}\nvolumes: [/b]', 'E1'],
    ['entrypoints: {web: {health_check: /x}}', 'E1'],
    ['base: a:1\nmeta: {a: b}', 'E2'],
    ['volumes: ["/a:/b"]', 'E2'],
    ['combos: {}', 'E2'],
    ['entrypoints: {web: {healthcheck_port: 80}}', 'E2'],
    ['complex_build: {}', 'E2b'],
    ['stages: [a]\nbuilds: {a: {}}\nmeta: {}', 'E3'],
    ['entrypoints: {web: {publish: [80]}}', 'E3'],
    ['entrypoints: {web: {healthcheck: {http_url: /x}}}', 'E3'],
    ['entrypoints: {web: {hook: {after_resume: [x]}}}', 'E3'],
    ['entrypoints: {web: {hook: {after_start: [x]}}}', 'v1'],
    ['entrypoints: 5', 'v1'],
  ])('%j is %s', (text, format) => {
    expect(detect(text)).toBe(format);
  });
});
