/** The backend that a run trains on. */
export interface OpenedBackend {
  /** Name in tfjs: `webgpu`, `tensorflow`, `wasm` or `cpu`. */
  readonly name: string;
  /** Description for people: `webgpu (NVIDIA ...)`. */
  readonly description: string;
  /** Why it was chosen, and why others were not, one sentence each. */
  readonly reasons: readonly string[];
  /** An error that the device reported since the last call, because webgpu never throws. */
  fault(): Error | undefined;
}

/** A started backend, or why it did not start. */
export type BackendAttempt = Omit<OpenedBackend, "reasons"> | { readonly missing: string };
