import { buildPageScript } from './build-page-script.ts';
import { escapeHtml, htmlPage } from './html.ts';

/** What the page of a build shows; strings from outside, all escaped here. */
export interface BuildPage {
  readonly host: string;
  readonly id: string;
  readonly state: 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'superseded';
  /** Why it did not succeed. */
  readonly error?: string;
  /** What there is to say, by its name, in this order. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** Milliseconds, in the order of their names. */
  readonly phases: readonly (readonly [name: string, milliseconds: number])[];
  /** Of the last attempt. */
  readonly apps: readonly { readonly title: string; readonly plan: string; readonly dockerfile: string }[];
  /** The visitor may end it, or have it built again. */
  readonly mayBuild: boolean;
  /** Of the page's one script, as its Content-Security-Policy says. */
  readonly nonce: string;
}

/**
 * One build: its log as it grows, and what it was made of. Without JavaScript the log is a link, and everything else is the same. No text of a build
 * ever becomes markup, here or in the script.
 */
export function renderBuild(page: BuildPage): string {
  const { id, state } = page;
  const path = `/api/v1/builds/${encodeURIComponent(id)}`;
  const active = state === 'queued' || state === 'running';
  const action = active ? 'cancel' : 'retry';
  const button = page.mayBuild
    ? ` <button data-post="${path}/${action}" hidden>${active ? 'Cancel' : 'Build again'}</button>`
    : '';
  const error = page.error === undefined ? '' : ` <span class="outcome">${escapeHtml(page.error)}</span>`;
  return htmlPage({
    title: `Build ${id}`,
    header: escapeHtml(page.host),
    main: `<p><span id="state" class="state ${state}">${state}</span><span id="error">${error}</span>${button}</p>
<table class="facts">${page.facts.map(([name, value]) => `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`).join('\n')}</table>
${phases(page.phases)}
<section><h2>Log</h2><pre id="log" data-stream="${path}/log/stream" data-active="${active}" hidden></pre>
<p class="none"><a href="${path}/log">the log as text</a></p></section>
${page.apps.map(app).join('\n')}`,
    script: `<script nonce="${escapeHtml(page.nonce)}">${buildPageScript}</script>\n`,
  });
}

function phases(all: BuildPage['phases']): string {
  const shown = all.filter(([, milliseconds]) => milliseconds > 0);
  if (shown.length === 0) return '';
  const bars = shown.map(
    ([name, milliseconds]) =>
      `<span class="p${colourOf(all, name)}" style="flex-grow:${Math.round(milliseconds)}" title="${escapeHtml(name)}"></span>`,
  );
  const names = shown.map(
    ([name, milliseconds]) =>
      `<span><i class="p${colourOf(all, name)}"></i>${escapeHtml(name)} ${formatTime(milliseconds)}</span>`,
  );
  return `<section><h2>Time</h2><div class="phases">${bars.join('')}</div><p>${names.join(' ')}</p></section>`;
}

function colourOf(all: BuildPage['phases'], name: string): number {
  return all.findIndex(([other]) => other === name) % 10;
}

function app({ title, plan, dockerfile }: BuildPage['apps'][number]): string {
  return `<section><h2>${escapeHtml(title)}</h2><details><summary>Plan</summary><pre>${escapeHtml(plan)}</pre></details>
<details><summary>Dockerfile that would make the same image</summary><pre>${escapeHtml(dockerfile)}</pre></details></section>`;
}

function formatTime(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return milliseconds < 60_000
    ? `${(milliseconds / 1000).toFixed(1)} s`
    : `${Math.floor(milliseconds / 60_000)} min ${Math.round((milliseconds % 60_000) / 1000)} s`;
}
