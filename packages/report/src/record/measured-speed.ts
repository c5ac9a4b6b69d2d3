/** Time and memory of one forward pass of one sequence. */
export interface PassCost {
  /** Median of the timed runs. */
  readonly seconds: number;
  /** Peak resident memory of the process, including model and runtime. */
  readonly peakBytes: number;
}

/**
 * How long both models take, on one machine at one time. It is never the same twice, so it stands in the report and in the
 * result of the command, and not in `favor.json`.
 */
export interface MeasuredSpeed {
  /** Processor, cores and system. */
  readonly machine: string;
  /** Day of the measurement, `2026-11-29`. */
  readonly date: string;
  /** Threads of onnxruntime. */
  readonly threads: number;
  /** In the order of the lengths, in tokens. */
  readonly lengths: readonly { readonly length: number; readonly original: PassCost; readonly converted: PassCost }[];
}
