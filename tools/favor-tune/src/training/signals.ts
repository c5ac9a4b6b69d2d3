/** The first SIGINT or SIGTERM ends the run after the current step; a second one has its usual effect. */
export class Signals {
  /** The first signal received, if any. */
  received: "SIGINT" | "SIGTERM" | undefined;
  readonly #listener: (signal: NodeJS.Signals) => void;

  constructor() {
    this.#listener = (signal) => {
      this.received = signal === "SIGTERM" ? "SIGTERM" : "SIGINT";
      this.stopListening();
    };
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, this.#listener);
  }

  /** Restores the usual effect of both signals. */
  stopListening(): void {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, this.#listener);
  }
}
