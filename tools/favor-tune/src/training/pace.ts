import { duration } from "@favor/command-line";

/** Seconds between two lines of progress. */
const lineEvery = 5;
/** Steps after which the total time is predicted. */
const foretellAfter = 10;

/** Measures the speed of a phase, and reports it. */
export class Pace {
  readonly #total: number;
  #steps = 0;
  #tokens = 0;
  #seconds = 0;
  #said = -Infinity;

  /** @param total - number of steps to do. */
  constructor(total: number) {
    this.#total = total;
  }

  add(tokens: number, seconds: number): void {
    this.#steps++;
    this.#tokens += tokens;
    this.#seconds += seconds;
  }

  /** The lines to print after a step; for most steps, none. */
  report(name: string, step: number, steps: number, loss: number, accuracy: number | undefined): string[] {
    const left = ((this.#total - this.#steps) * this.#seconds) / this.#steps;
    const lines: string[] = [];
    const isLast = this.#steps === this.#total;
    if (this.#seconds - this.#said >= lineEvery || isLast) {
      this.#said = this.#seconds;
      const right = accuracy === undefined ? "" : `, masked accuracy ${(100 * accuracy).toFixed(1)} %`;
      const speed = `${Math.round(this.#tokens / this.#seconds)} tokens/s`;
      lines.push(`${name} ${step}/${steps}: loss ${loss.toPrecision(4)}${right}, ${speed}, ${duration(left)} left`);
    }
    if (this.#steps === foretellAfter && !isLast) {
      const each = this.#seconds / this.#steps;
      lines.push(`${name}: ${each.toPrecision(2)} s per step, about ${duration(each * this.#total)} in total.`);
    }
    return lines;
  }
}
