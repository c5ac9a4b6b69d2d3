import { SingleBar } from "cli-progress";

import { duration } from "./duration.ts";
import { usualColumns } from "./wrap.ts";
import { silent, visibleText } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";

/** Shows warnings only. */
export function warningsOn(stream: NodeJS.WritableStream): Progress {
  return { ...silent, warn: (text) => void stream.write(warningLine(text)) };
}

function warningLine(text: string): string {
  return `Warning: ${visibleText(text)}\n`;
}

/** Prints one line per stage, for logs, pipes and continuous integration. */
class LineProgress implements Progress {
  readonly #stream: NodeJS.WritableStream;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  stage(name: string, total?: number): void {
    this.#stream.write(total === undefined ? `${visibleText(name)} ...\n` : `${visibleText(name)} (${total}) ...\n`);
  }

  advance(): void {}

  note(text: string): void {
    this.#stream.write(`${visibleText(text)}\n`);
  }

  warn(text: string): void {
    this.#stream.write(warningLine(text));
  }

  end(): void {}
}

/** Shows a progress bar, for terminals. */
class BarProgress implements Progress {
  readonly #stream: NodeJS.WritableStream;
  #bar: SingleBar | undefined;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  stage(given: string, total?: number): void {
    const name = visibleText(given);
    this.end();
    if (total === undefined) {
      this.#stream.write(`${name} ...\n`);
      return;
    }
    this.#bar = new SingleBar({
      stream: this.#stream,
      barsize: barSize(name, total, this.#stream),
      format: `${name} {bar} {value}/{total}{eta_formatted}`,
      // Until there is an estimate, the library gives text.
      formatTime: (seconds) => (Number.isFinite(seconds) ? `, ${duration(seconds)} left` : ""),
      // The line is short enough. Wrapping that was switched off would stay off after Ctrl-C.
      linewrap: true,
      barCompleteChar: "=",
      barIncompleteChar: " ",
      hideCursor: null,
      gracefulExit: false,
    });
    this.#bar.start(total, 0);
  }

  advance(steps: number): void {
    this.#bar?.increment(steps);
  }

  note(text: string): void {
    this.end();
    this.#stream.write(`${visibleText(text)}\n`);
  }

  warn(text: string): void {
    this.end();
    this.#stream.write(warningLine(text));
  }

  end(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

/** Width of a bar that leaves room for its name, counts and remaining time on one line of the terminal. */
function barSize(name: string, total: number, stream: NodeJS.WritableStream): number {
  const columns = "columns" in stream && typeof stream.columns === "number" ? stream.columns : usualColumns;
  const rest = `${name}  ${total}/${total}, 59 min 59 s left`.length;
  return Math.max(5, Math.min(40, columns - 1 - rest));
}

/**
 * Shows progress on a stream: a bar on a terminal, plain lines elsewhere and on "dumb" terminals. Neither uses colour, so
 * NO_COLOR has no effect.
 */
export function progressOn(
  stream: NodeJS.WritableStream,
  environment: Readonly<Record<string, string | undefined>>,
): Progress {
  const terminal = "isTTY" in stream && stream.isTTY === true && environment["TERM"] !== "dumb";
  return terminal ? new BarProgress(stream) : new LineProgress(stream);
}
