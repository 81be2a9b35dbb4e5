/**
 * Runs in the visitor's browser: shows the log as it grows, coloured as its SGR sequences say, and takes it up again behind the last line when the
 * connection breaks. Lines become text nodes, never markup. A page holds its last 20,000 lines: the whole log is a link.
 */
export const buildPageScript = String.raw`'use strict';
(() => {
  const log = document.getElementById('log');
  const state = document.getElementById('state');
  const mostLines = 20000;
  let last = '';
  let colour = '';
  let waiting = [];
  const part = (text) => {
    if (colour === '') return document.createTextNode(text);
    const span = document.createElement('span');
    span.className = colour;
    span.textContent = text;
    return span;
  };
  const paint = (codes) => {
    let bold = / ?b\b/.test(colour);
    let front = (/f\d/.exec(colour) || [''])[0];
    const numbers = codes.split(/[;:]/).map(Number);
    for (let at = 0; at < numbers.length; at++) {
      const code = numbers[at];
      if (code === 0) { bold = false; front = ''; }
      else if (code === 1) bold = true;
      else if (code === 22) bold = false;
      else if (code === 39) front = '';
      else if (code >= 30 && code <= 37) front = 'f' + (code - 30);
      else if (code >= 90 && code <= 97) front = 'f' + (code - 90);
      else if (code === 38 || code === 48) at += numbers[at + 1] === 5 ? 2 : 4;
    }
    colour = (front + (bold ? ' b' : '')).trim();
  };
  const lineOf = (text) => {
    const line = document.createElement('div');
    const parts = text.split(/\u001b\[([0-9;:]*)m/);
    parts.forEach((piece, index) => {
      if (index % 2 === 1) paint(piece);
      else if (piece !== '') line.append(part(piece));
    });
    if (line.firstChild === null) line.append('\u200b');
    return line;
  };
  const show = () => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const lines = waiting.slice(-mostLines);
    waiting = [];
    log.append(...lines.map(lineOf));
    while (log.childElementCount > mostLines) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  const follow = () => {
    const source = new EventSource(log.dataset.stream + (last === '' ? '' : '?after=' + encodeURIComponent(last)));
    source.onmessage = (event) => {
      last = event.lastEventId;
      if (waiting.length === 0) requestAnimationFrame(show);
      waiting.push(...event.data.split('\n'));
    };
    source.addEventListener('end', (event) => {
      source.close();
      const end = JSON.parse(event.data);
      // The page shows more of a build that has ended: its times, its plan, what can be done with it.
      if (log.dataset.active === 'true') location.reload();
      else state.textContent = end.state;
    });
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(follow, 3000);
    };
  };
  log.hidden = false;
  follow();
  for (const button of document.querySelectorAll('button[data-post]')) {
    button.hidden = false;
    button.addEventListener('click', async () => {
      button.disabled = true;
      const answer = await fetch(button.dataset.post, { method: 'POST' });
      if (!answer.ok) {
        button.disabled = false;
        const { error } = await answer.json().catch(() => ({}));
        alert((error && error.message) || 'the server answered ' + answer.status);
        return;
      }
      const build = await answer.json();
      location.href = '/builds/' + encodeURIComponent(build.id);
    });
  }
})();
`;
