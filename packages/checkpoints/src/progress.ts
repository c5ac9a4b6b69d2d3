/** Reports progress to a waiting user. */
export interface Progress {
  /** Begins a stage. `total` is the number of steps that {@link Progress.advance} will count, if known. */
  stage(name: string, total?: number): void;
  advance(steps: number): void;
  /** Prints a line that stays. */
  note(text: string): void;
  /** Warns of something to know before relying on the result; printed with `--quiet` too. */
  warn(text: string): void;
  /** Ends the last stage. */
  end(): void;
}

export const silent: Progress = { stage: () => {}, advance: () => {}, note: () => {}, warn: () => {}, end: () => {} };
