/** Tells a waiting person what is being done. Everything goes to stderr; results alone go to stdout. */
export interface Progress {
  /** Begins a stage; `total`: how many steps {@link Progress.advance} will count, if known. */
  stage(name: string, total?: number): void;
  advance(steps: number): void;
  /** A line that stays. */
  note(text: string): void;
  /** What the user should know before relying on the result; said without progress too. */
  warn(text: string): void;
  /** Ends the last stage. */
  end(): void;
}

export const silent: Progress = { stage: () => {}, advance: () => {}, note: () => {}, warn: () => {}, end: () => {} };
