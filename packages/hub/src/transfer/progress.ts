import type { RetryNotice } from "../transport/retry.ts";

/** What happens while files are brought. */
export type HubEvent =
  | {
      readonly type: "progress";
      readonly path: string;
      /** Bytes of this file that are there, of its size. */
      readonly fileBytes: number;
      readonly fileSize: number;
      /** The same over all files of the request. */
      readonly bytes: number;
      readonly totalBytes: number;
      /** Received per second over the last five seconds, all files together. */
      readonly bytesPerSecond: number;
      /** Seconds until everything is there at this speed; `undefined` before there is one. */
      readonly secondsLeft: number | undefined;
    }
  | { readonly type: "file"; readonly path: string; readonly size: number; readonly cached: boolean }
  | {
      readonly type: "retry";
      readonly path: string | undefined;
      readonly attempt: number;
      readonly waitMs: number;
      readonly reason: string;
    }
  | { readonly type: "warning"; readonly message: string };

const windowMs = 5000;
const everyMs = 100;

/** Turns byte counts of several files into {@link HubEvent}s, ten a second at most. */
export class Progress {
  readonly #listen: ((event: HubEvent) => void) | undefined;
  readonly #present = new Map<string, number>();
  readonly #samples: { at: number; received: number }[] = [];
  readonly #totalBytes: number;
  #bytes = 0;
  #received = 0;
  #lastEvent = -Infinity;

  /** @param totalBytes of all files that will be reported */
  constructor(listen: ((event: HubEvent) => void) | undefined, totalBytes = 0) {
    this.#listen = listen;
    this.#totalBytes = totalBytes;
  }

  /** A file has `present` bytes now. The first report of a file is where it starts, not something received. */
  bytes(path: string, fileSize: number, present: number): void {
    if (this.#listen === undefined) return;
    const before = this.#present.get(path);
    this.#present.set(path, present);
    this.#bytes += present - (before ?? 0);
    if (before !== undefined && present > before) this.#received += present - before;

    const now = performance.now();
    if (now - this.#lastEvent < everyMs && present < fileSize) return;
    this.#lastEvent = now;
    this.#samples.push({ at: now, received: this.#received });
    while (this.#samples.length > 2 && now - this.#samples[0]!.at > windowMs) this.#samples.shift();
    const first = this.#samples[0]!;
    const seconds = (now - first.at) / 1000;
    const bytesPerSecond = seconds > 0 ? (this.#received - first.received) / seconds : 0;
    this.#listen({
      type: "progress",
      path,
      fileBytes: present,
      fileSize,
      bytes: this.#bytes,
      totalBytes: this.#totalBytes,
      bytesPerSecond,
      secondsLeft: bytesPerSecond > 0 ? (this.#totalBytes - this.#bytes) / bytesPerSecond : undefined,
    });
  }

  file(path: string, size: number, cached: boolean): void {
    this.#listen?.({ type: "file", path, size, cached });
  }

  retry(path: string | undefined, notice: RetryNotice): void {
    const { attempt, waitMs, error } = notice;
    this.#listen?.({ type: "retry", path, attempt, waitMs, reason: error.message });
  }

  warn(message: string): void {
    this.#listen?.({ type: "warning", message });
  }
}
