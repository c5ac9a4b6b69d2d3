/** The first SIGINT or SIGTERM asks for an end after the step at hand; a second one has its usual effect. */
export class Signals {
  /** The first that came, if any. */
  received: "SIGINT" | "SIGTERM" | undefined;
  readonly #listener: (signal: NodeJS.Signals) => void;

  constructor() {
    this.#listener = (signal) => {
      this.received = signal === "SIGTERM" ? "SIGTERM" : "SIGINT";
      this.stopListening();
    };
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, this.#listener);
  }

  /** Gives both signals their usual effect back. */
  stopListening(): void {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, this.#listener);
  }
}
