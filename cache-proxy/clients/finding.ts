/** What somebody should know about a node and its pool; `note`: works, but somebody may want to know. */
export interface ClientFinding {
  readonly what: string;
  readonly state: 'ok' | 'note' | 'bad';
  readonly text: string;
}
