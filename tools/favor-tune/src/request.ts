import type { PoolingMode } from "@favor/checkpoints/node";

/**
 * What to train: `distill` the feature maps, `align` weights with the original's hidden states and outputs, or masked
 * language modelling (`mlm`). They run in this order.
 */
export const stageNames = ["distill", "align", "mlm"] as const;
export type Stage = (typeof stageNames)[number];
/** Where to train; `auto` chooses a backend and says why. */
export type BackendChoice = "auto" | "webgpu" | "node" | "wasm" | "cpu";
/** How the learning rate changes after the warm-up. */
export type Schedule = "cosine" | "linear" | "constant";
/** Which initializers alignment and MLM fine-tuning change. */
export type TrainedPart = "all" | "attention" | "features";

/** What to tune and how; the command line's options, one for one. */
export interface TuneRequest {
  /** The folder that favor-convert wrote. */
  readonly source: string;
  /** FASTA, text, JSON, CSV, TSV or Parquet to train on. */
  readonly data: string;
  /** The folder to write; default: the source's name plus `-tuned`. */
  readonly output?: string;
  /** One, or several in their order; "both" is distill and mlm. Default: these for a masked language model, else distill and align. */
  readonly stage?: Stage | "both" | readonly Stage[];
  /** Steps of each stage; default 100 of distillation, 200 of alignment, 80 of MLM. */
  readonly steps?: number;
  /** Steps of distillation alone. */
  readonly distillSteps?: number;
  /** Steps of alignment alone. */
  readonly alignSteps?: number;
  /** Steps of MLM alone. */
  readonly mlmSteps?: number;
  /** Sequences per step; default 16. */
  readonly batch?: number;
  /**
   * Peak learning rate of alignment and MLM; default 0.0128 over the width, at most 1e-4. Without these stages, that of
   * distillation.
   */
  readonly learningRate?: number;
  /** Peak learning rate of distillation, in multiples of the size of each tensor; default 0.05. */
  readonly distillLearningRate?: number;
  /** Steps of warm-up; default a tenth of the stage's steps. */
  readonly warmup?: number;
  /** Default "cosine". */
  readonly schedule?: Schedule;
  /** Longest sequence in tokens; longer ones give windows. Default: what the model reads. */
  readonly maxLength?: number;
  /** Take the beginnings of sequences that are too long, instead of windows spread over them. */
  readonly truncate?: boolean;
  /** Train on windows of `maxLength` that are filled with sequences, one after the other. */
  readonly pack?: boolean;
  /** Seed of the order of the data, the masks and dropout; default 0. */
  readonly seed?: number;
  /** Default "auto". */
  readonly backend?: BackendChoice;
  /** Parts in which a step's batch is computed; default: as many as memory requires. */
  readonly accumulate?: number;
  /** Steps between evaluations; default: a tenth of the stage's steps. */
  readonly evalEvery?: number;
  /** Data file to measure on; default: a part of the data, held out by the hash of the record. */
  readonly evalData?: string;
  /** Sequences to measure on; default 200. */
  readonly evalCount?: number;
  /**
   * Which weights each stage ends with: the "best" by evaluations on a part of the training data that is held out for this, those
   * before the stage included, or the "last". Default "best".
   */
  readonly weights?: "best" | "last";
  /** Evaluations without improvement after which a stage ends; default: no limit. */
  readonly patience?: number;
  /** Continue from the last checkpoint of the same run. */
  readonly resume?: boolean;
  /** Default "all". */
  readonly train?: TrainedPart;
  /** How vectors of tokens become an embedding, which is aligned and measured. Default: as the checkpoint says, if it does. */
  readonly pooling?: PoolingMode;
  /** The checkpoint that was converted: the teacher of distillation and alignment, and the reference for the result. */
  readonly teacher?: string;
  /** Weight of the KL divergence to the teacher in the MLM loss, 0 to 1; default 0. */
  readonly kl?: number;
  /** The settings of the Performer paper: dropout 0.1, and its optimiser. */
  readonly preset?: "paper";
  /** Redraw random projections with each pass over the data, as the paper does. */
  readonly redraw?: boolean;
  /** Also tune the softmax original with the same data, order and masks, for comparison. */
  readonly control?: boolean;
  /** JSON field, or CSV, TSV or Parquet column, with the text. Default: "text"; in files without it, "sequence". */
  readonly column?: string;
  /** Threads of onnxruntime; default: one per core. */
  readonly threads?: number;
  /** Replace an output folder that an earlier run wrote. */
  readonly force?: boolean;
}
