const escapes: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text from outside, for between tags and for quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => escapes[character] ?? character);
}

/** A whole page. `title` is escaped here, the rest is markup. */
export function htmlPage(page: {
  readonly title: string;
  readonly header: string;
  readonly main: string;
  /** Behind everything else. */
  readonly script?: string;
}): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(page.title)}</title>
<style>${style}</style>
</head>
<body>
<header><h1><a href="/">Brickyard</a></h1><p>${page.header}</p></header>
<main>
${page.main}
</main>
<footer><a href="/api/v1/openapi.json">API</a> · <a href="/metrics">Metrics</a></footer>
${page.script ?? ''}</body>
</html>
`;
}

const style = `
:root { color-scheme: light dark; --line: #8884; --brick: #b5482e; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 0 1rem; }
header { display: flex; align-items: baseline; gap: 1rem; border-bottom: 3px solid var(--brick); }
h1 { margin: .6em 0 .3em; } h1 a { color: var(--brick); text-decoration: none; } h2 { font-size: 1.1rem; margin: 1.6em 0 .4em; }
.ways { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 2rem; }
pre { font-size: .85rem; background: #8881; border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; overflow-x: auto; margin: 0; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.outcome { font-family: ui-monospace, monospace; font-size: .85rem; overflow-wrap: anywhere; }
time { white-space: nowrap; }
.state { border-radius: 999px; padding: 0 .6em; font-size: .85rem; border: 1px solid currentColor; white-space: nowrap; }
.succeeded { color: #2a7d3a; } .failed { color: #c0392b; } .running, .queued { color: #a86a00; } .cancelled, .superseded { color: #888; }
.none { color: #888; } ul { columns: 3 14rem; padding-left: 1.2rem; } footer { margin: 3rem 0 1rem; color: #888; }
.facts th { width: 8rem; color: #888; font-weight: 400; } .facts td { overflow-wrap: anywhere; }
.phases { display: flex; height: .8rem; border-radius: 4px; overflow: hidden; margin: .4rem 0; } .phases span { min-width: 2px; }
.phases + p { font-size: .85rem; margin: 0; } .phases + p span { margin-right: 1em; white-space: nowrap; }
.phases + p i { display: inline-block; width: .6em; height: .6em; border-radius: 2px; margin-right: .3em; }
.p0 { background: #8886; } .p1 { background: #5b8dd9; } .p2 { background: #3fa7a0; } .p3 { background: #7c6fd0; } .p4 { background: #c48a2c; }
.p5 { background: #b5482e; } .p6 { background: #c95f91; } .p7 { background: #86763b; } .p8 { background: #4f9d4f; } .p9 { background: #5f7a99; }
#log { background: #16181d; color: #d6d8dd; max-height: 32rem; overflow-y: auto; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.35; }
.b { font-weight: 700; } .f0 { color: #7d838f; } .f1 { color: #ff7b72; } .f2 { color: #6fcf7f; } .f3 { color: #e3b341; } .f4 { color: #79b8ff; }
.f5 { color: #d2a8ff; } .f6 { color: #56d4dd; } .f7 { color: #f0f3f6; } summary { cursor: pointer; }
button { font: inherit; font-size: .85rem; padding: .1rem .9rem; border: 1px solid var(--brick); color: var(--brick); background: none; border-radius: 6px; cursor: pointer; }
`;
