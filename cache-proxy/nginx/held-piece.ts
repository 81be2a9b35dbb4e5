import { pipeline, type Transform } from 'node:stream';
import type { BlobAnswer } from '../fetch/fetch-blob.ts';

export interface HeldPieceOptions {
  readonly asked: Promise<BlobAnswer>;
  /** What its bytes go through, once they are taken from the line: as many wait there as it has room for. */
  readonly through: Transform;
  /** Somebody came for it, or it is gone: told once. */
  readonly onEnd: (how: 'taken' | 'gone') => void;
  /** Told once where nobody came: what the registry answered, and bytes that were taken from the line. */
  readonly onUnwanted: (status: number, bytes: number) => void;
}

/** An answer that was asked for before anybody wanted it. One that is no piece, or breaks, is let go at once: who comes later asks anew. */
export interface HeldPiece {
  /** Nothing that is wanted earlier comes any more: its bytes are taken from the line from here on. */
  draw(): void;
  /** For the one who came for it. Errors: those of asking. */
  take(): Promise<BlobAnswer>;
  letGo(): void;
}

export function holdPiece({ asked, through, onEnd, onUnwanted }: HeldPieceOptions): HeldPiece {
  let state: 'kept' | 'taken' | 'gone' = 'kept';
  let arrived: BlobAnswer | undefined;
  let wanted = false;
  let drawn = false;
  let bytes = 0;

  const end = (how: 'taken' | 'gone'): void => {
    state = how;
    onEnd(how);
  };
  const letGo = (): void => {
    if (state !== 'kept') return;
    end('gone');
    through.destroy();
    arrived?.body.destroy();
    if (arrived !== undefined) onUnwanted(arrived.status, bytes);
  };
  const draw = (): void => {
    wanted = true;
    if (drawn || state === 'gone' || arrived?.status !== 206) return;
    drawn = true;
    arrived.body.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    // Who took it meets the error himself.
    pipeline(arrived.body, through, (error) => {
      if (error !== null && error !== undefined) letGo();
    });
  };

  asked.then(
    (answer) => {
      arrived = answer;
      if (state === 'gone') {
        answer.body.destroy();
        onUnwanted(answer.status, 0);
      } else if (state === 'kept' && answer.status !== 206) letGo();
      else if (wanted) draw();
    },
    () => {
      if (state === 'taken') return;
      if (state === 'kept') end('gone');
      onUnwanted(503, 0);
    },
  );

  return {
    draw,
    async take() {
      end('taken');
      const answer = await asked;
      if (answer.status !== 206) return answer;
      draw();
      return { ...answer, body: through };
    },
    letGo,
  };
}
