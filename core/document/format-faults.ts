import type { DocumentFault, SourceDocument } from './document.ts';

export type FaultFormat = 'text' | 'json' | 'github';

/**
 * Faults of one file for people (`text`: place, code, message, source line, caret), machines (`json`: one document) or
 * GitHub's log (`github`: workflow commands that mark the line). Ends with a line end unless there is nothing to say.
 */
export function formatFaults(
  faults: readonly DocumentFault[],
  document: Pick<SourceDocument, 'file' | 'text'>,
  format: FaultFormat = 'text',
  options: { /** ANSI colours, for terminals only. Default false. */ color?: boolean } = {},
): string {
  if (format === 'json') return `${JSON.stringify({ file: document.file, faults }, undefined, 2)}\n`;
  if (format === 'github') return faults.map((fault) => githubLine(fault, document.file)).join('');
  const lines = document.text.split('\n');
  const paint = options.color === true ? colored : plain;
  return faults.map((fault) => textLines(fault, document.file, lines, paint)).join('');
}

type Paint = (style: 'error' | 'warning' | 'info' | 'dim' | 'bold', text: string) => string;

function plain(_style: string, text: string): string {
  return text;
}

function colored(style: 'error' | 'warning' | 'info' | 'dim' | 'bold', text: string): string {
  const code = { error: 31, warning: 33, info: 36, dim: 2, bold: 1 }[style];
  return `\u001B[${code}m${text}\u001B[0m`;
}

function textLines(fault: DocumentFault, file: string, lines: readonly string[], paint: Paint): string {
  const place = `${visible(file)}:${fault.line}:${fault.column}`;
  const path = fault.path === '' ? '' : `${visible(fault.path)}: `;
  const hint = fault.hint === undefined ? '' : ` (${visible(fault.hint)})`;
  const head = `${paint('bold', place)} ${paint(fault.severity, `${fault.severity} ${fault.code}`)} ${path}${visible(fault.message)}${hint}\n`;
  const source = lines[fault.line - 1]?.replace(/\r$/, '');
  if (source === undefined || source.trim() === '') return head;
  // A long line is shown around the place.
  const start = fault.column > 100 ? fault.column - 40 : 0;
  const shown = visible(source.slice(start, start + 140));
  const before = visible(source.slice(start, fault.column - 1));
  const marked = visible(source.slice(fault.column - 1, fault.column - 1 + fault.length)).slice(
    0,
    140 - before.length,
  );
  const gutter = String(fault.line).padStart(5);
  const pad = blank(start > 0 ? `…${before}` : before);
  const carets = '^'.repeat(Math.max(1, width(marked)));
  return `${head}${paint('dim', `${gutter} |`)} ${start > 0 ? '…' : ''}${shown}\n${paint('dim', '      |')} ${pad}${paint(fault.severity, carets)}\n`;
}

/** Keeps terminal control sequences in a file from reaching the terminal; tabs become one blank so that the caret stays right. */
function visible(text: string): string {
  return text.replace(/\t/g, ' ').replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\uFFFD');
}

// East Asian wide characters take two columns on a terminal.
const wide = /[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6]/;

function blank(text: string): string {
  return Array.from(text, (character) => (wide.test(character) ? '\u3000' : ' ')).join('');
}

function width(text: string): number {
  return Array.from(text, (character) => (wide.test(character) ? 2 : 1)).reduce((sum, each) => sum + each, 0);
}

/** Workflow commands: `%`, CR and LF are escaped in the message, `:` and `,` in properties too (actions/toolkit, command.ts). */
function githubLine(fault: DocumentFault, file: string): string {
  const level = { error: 'error', warning: 'warning', info: 'notice' }[fault.severity];
  const path = fault.path === '' ? '' : `${fault.path}: `;
  const hint = fault.hint === undefined ? '' : ` (${fault.hint})`;
  const properties = `file=${property(file)},line=${fault.line},col=${fault.column},title=${property(fault.code)}`;
  return `::${level} ${properties}::${data(`${path}${fault.message}${hint}`)}\n`;
}

function data(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function property(text: string): string {
  return data(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}
