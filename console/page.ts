import { escapeHtml, htmlPage } from './html.ts';

/** What the start page shows; strings from outside, all escaped here. */
export interface HomePage {
  /** Address that clients use, e.g. `registry.example.com` or `127.0.0.1:5000`. */
  readonly host: string;
  /** Address with its scheme. */
  readonly url: string;
  readonly signedInAs?: string;
  readonly repositories: readonly string[];
  /** More exist than are shown. */
  readonly moreRepositories: boolean;
  readonly builds: readonly BuildRow[];
}

export interface BuildRow {
  readonly id: string;
  readonly repository: string;
  readonly ref: string;
  readonly state: 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'superseded';
  /** ISO 8601. */
  readonly createdAt: string;
  readonly outcome?: string;
}

/** The start page: what is here, and how to put something in. Plain HTML, no script. */
export function renderHome(page: HomePage): string {
  const empty = page.repositories.length === 0 && page.builds.length === 0;
  const signedIn = page.signedInAs === undefined ? '' : ` · signed in as ${escapeHtml(page.signedInAs)}`;
  return htmlPage({
    title: `Brickyard at ${page.host}`,
    header: escapeHtml(page.host) + signedIn,
    main: `${empty ? '<p class="lead">Nothing is here yet. The two ways in:</p>' : ''}
<section class="ways">
<div><h2>Push an image</h2><pre>docker push ${escapeHtml(page.host)}/team/app:1.0</pre></div>
<div><h2>Push source</h2><pre>brickyard init
git push ${escapeHtml(page.url)}/git/team/app.git main</pre></div>
</section>
<section><h2>Builds</h2>${builds(page.builds)}</section>
<section><h2>Repositories</h2>${repositories(page)}</section>`,
  });
}

function builds(rows: readonly BuildRow[]): string {
  if (rows.length === 0) return '<p class="none">No build yet.</p>';
  const cells = rows.map(
    (
      row,
    ) => `<tr><td><a class="state ${row.state}" href="/builds/${encodeURIComponent(row.id)}">${row.state}</a></td><td>${escapeHtml(row.repository)}</td>
<td>${escapeHtml(row.ref)}</td><td class="outcome">${escapeHtml(row.outcome ?? '')}</td>
<td><time datetime="${escapeHtml(row.createdAt)}">${escapeHtml(row.createdAt.replace('T', ' ').slice(0, 19))}</time></td>
<td><a href="/api/v1/builds/${encodeURIComponent(row.id)}/log">log</a></td></tr>`,
  );
  return `<table><thead><tr><th>State</th><th>Repository</th><th>Ref</th><th>Outcome</th><th>Time (UTC)</th><th></th></tr></thead>
<tbody>${cells.join('\n')}</tbody></table>`;
}

function repositories(page: HomePage): string {
  if (page.repositories.length === 0) return '<p class="none">No repository yet.</p>';
  const items = page.repositories.map(
    (name) => `<li><a href="/v2/${escapeHtml(name)}/tags/list">${escapeHtml(name)}</a></li>`,
  );
  return `<ul>${items.join('\n')}</ul>${page.moreRepositories ? '<p class="none">… and more: <code>brickyard images ls</code></p>' : ''}`;
}
