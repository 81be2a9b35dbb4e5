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
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Brickyard at ${escape(page.host)}</title>
<style>${style}</style>
</head>
<body>
<header><h1>Brickyard</h1><p>${escape(page.host)}${page.signedInAs === undefined ? '' : ` · signed in as ${escape(page.signedInAs)}`}</p></header>
<main>
${empty ? '<p class="lead">Nothing is here yet. The two ways in:</p>' : ''}
<section class="ways">
<div><h2>Push an image</h2><pre>docker push ${escape(page.host)}/team/app:1.0</pre></div>
<div><h2>Push source</h2><pre>brickyard init
git push ${escape(page.url)}/git/team/app.git main</pre></div>
</section>
<section><h2>Builds</h2>${builds(page.builds)}</section>
<section><h2>Repositories</h2>${repositories(page)}</section>
</main>
<footer><a href="/api/v1/openapi.json">API</a> · <a href="/metrics">Metrics</a></footer>
</body>
</html>
`;
}

function builds(rows: readonly BuildRow[]): string {
  if (rows.length === 0) return '<p class="none">No build yet.</p>';
  const cells = rows.map(
    (
      row,
    ) => `<tr><td><span class="state ${row.state}">${row.state}</span></td><td>${escape(row.repository)}</td>
<td>${escape(row.ref)}</td><td class="outcome">${escape(row.outcome ?? '')}</td>
<td><time datetime="${escape(row.createdAt)}">${escape(row.createdAt.replace('T', ' ').slice(0, 19))}</time></td>
<td><a href="/api/v1/builds/${encodeURIComponent(row.id)}/log">log</a></td></tr>`,
  );
  return `<table><thead><tr><th>State</th><th>Repository</th><th>Ref</th><th>Outcome</th><th>Time (UTC)</th><th></th></tr></thead>
<tbody>${cells.join('\n')}</tbody></table>`;
}

function repositories(page: HomePage): string {
  if (page.repositories.length === 0) return '<p class="none">No repository yet.</p>';
  const items = page.repositories.map(
    (name) => `<li><a href="/v2/${escape(name)}/tags/list">${escape(name)}</a></li>`,
  );
  return `<ul>${items.join('\n')}</ul>${page.moreRepositories ? '<p class="none">… and more: <code>brickyard images ls</code></p>' : ''}`;
}

const escapes: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => escapes[character] ?? character);
}

const style = `
:root { color-scheme: light dark; --line: #8884; --brick: #b5482e; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 0 1rem; }
header { display: flex; align-items: baseline; gap: 1rem; border-bottom: 3px solid var(--brick); }
h1 { color: var(--brick); margin: .6em 0 .3em; } h2 { font-size: 1.1rem; margin: 1.6em 0 .4em; }
.ways { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 2rem; }
pre { font-size: .85rem; background: #8881; border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; overflow-x: auto; margin: 0; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.outcome { font-family: ui-monospace, monospace; font-size: .85rem; overflow-wrap: anywhere; }
time { white-space: nowrap; }
.state { border-radius: 999px; padding: 0 .6em; font-size: .85rem; border: 1px solid currentColor; white-space: nowrap; }
.succeeded { color: #2a7d3a; } .failed { color: #c0392b; } .running, .queued { color: #a86a00; } .cancelled { color: #888; }
.none { color: #888; } ul { columns: 3 14rem; padding-left: 1.2rem; } footer { margin: 3rem 0 1rem; color: #888; }
`;
