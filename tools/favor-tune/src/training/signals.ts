import { stopSignals } from "@favor/checkpoints/node";
import type { StopSignal } from "@favor/checkpoints/node";

/** The first stop signal ends the run after the current step; a second one has its usual effect. */
export class Signals {
  #received: StopSignal | undefined;
  readonly #listeners: ReadonlyMap<StopSignal, () => void>;

  /** @param received - called at the first signal. */
  constructor(received: () => void = () => {}) {
    this.#listeners = new Map(
      stopSignals.map((signal) => [
        signal,
        () => {
          this.#received = signal;
          this.stopListening();
          received();
        },
      ]),
    );
    for (const [signal, listener] of this.#listeners) process.on(signal, listener);
  }

  /** The first signal received, if any. */
  get received(): StopSignal | undefined {
    return this.#received;
  }

  /** Restores the usual effect of the signals. */
  stopListening(): void {
    for (const [signal, listener] of this.#listeners) process.off(signal, listener);
  }
}
