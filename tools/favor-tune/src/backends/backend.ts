/** The backend that a run trains on. */
export interface OpenedBackend {
  /** Of tfjs: `webgpu`, `tensorflow`, `wasm`, `cpu`. */
  readonly name: string;
  /** What it is, for people: `webgpu (NVIDIA ...)`. */
  readonly description: string;
  /** Why it was chosen, and what else was looked for, a sentence each. */
  readonly reasons: readonly string[];
  /** An error that the device reported since the last call: webgpu throws none. */
  fault(): Error | undefined;
}

/** A backend that started, or why it did not. */
export type BackendAttempt = Omit<OpenedBackend, "reasons"> | { readonly missing: string };
