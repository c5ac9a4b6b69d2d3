import type { PoolingMode, SourceOptions } from "@favor/checkpoints/node";
import type { Evaluation } from "@favor/measure";
import type { DataUse, DataWarning } from "@favor/measure/tokens";
import type { MeasuredSpeed, PassCost } from "@favor/report";

import type { BreakEven } from "../commands/break-even.ts";

export interface AdviseRequest extends SourceOptions {
  /** A checkpoint folder, an `.onnx` file, or the id of a model at the Hugging Face Hub. */
  readonly source: string;
  /** Data file: half of its records are calibrated on, the others measured on. Without it, only time and memory are known. */
  readonly data?: string;
  /** JSON field, or CSV, TSV or Parquet column, with the text. Default: "text"; in files without it, "sequence". */
  readonly column?: string;
  /** How an embedding is made of the vectors of a text's tokens. Default: as the checkpoint says. */
  readonly pooling?: PoolingMode;
  /**
   * Lengths in tokens. Default: 512, 2,048 and 8,192, as far as the model takes them, and the longest that it takes if that is
   * less.
   */
  readonly lengths?: readonly number[];
  /** The largest loss at the longest length, in points of accuracy, of decisions or of the cosine; default 1. */
  readonly budget?: number;
  /** Threads of onnxruntime and of the fits; default: one per core. */
  readonly threads?: number;
}

/** One way to run the model, as it was measured. */
export interface AdviceRow {
  readonly name: string;
  /** The command that makes it; absent for the model as it is. */
  readonly command?: string;
  /** Whether it computes what the original does, up to rounding. */
  readonly isLossless: boolean;
  /** On the user's data. */
  readonly evaluation?: Evaluation;
  /** Points lost at the longest length of the data. */
  readonly loss?: number;
  /** By length, in the order of `lengths`; null where it was not measured. */
  readonly costs: readonly (PassCost | null)[];
  /** Why it could not be converted, or not be timed. */
  readonly failure?: string;
}

/** A reason to doubt the advice. */
export interface AdviceWarning {
  readonly code: DataWarning["code"] | "positions-grown" | "quality-unknown-beyond";
  /** What was found, why it matters and what to do. */
  readonly message: string;
}

export interface Advice extends Pick<MeasuredSpeed, "machine" | "date" | "threads"> {
  readonly source: string;
  /** In tokens, ascending. */
  readonly lengths: readonly number[];
  /** Points. */
  readonly budget: number;
  /** Sequences calibrated on, and measured on; absent without data. */
  readonly data?: { readonly calibration: DataUse; readonly evaluation: DataUse };
  /** The model as it is comes first. */
  readonly rows: readonly AdviceRow[];
  /** Of the conversion with exact keys and features as calibration chose them, or else of 64 features. */
  readonly breakEven?: BreakEven;
  /** By which rule the recommendation was made. */
  readonly rule: string;
  /** Absent if nothing could be measured at the longest length. */
  readonly recommendation?: {
    readonly name: string;
    readonly reason: string;
    /** Absent if the model should stay as it is. */
    readonly command?: string;
  };
  readonly warnings: readonly AdviceWarning[];
  readonly notes: readonly string[];
}
