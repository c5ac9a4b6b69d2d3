import { generalizedChoices } from "@favor/rewriter";
import type { ConvertOptions, FeatureChoice, SiteReport } from "@favor/rewriter";

import { refuseIf } from "@favor/command-line";
import type { FavorOptions } from "@favor/report";
import type { PoolingMode, SourceOptions } from "@favor/checkpoints/node";

/** What to convert and how; the command line's options, one for one. */
export interface ConvertRequest extends SourceOptions {
  /** A checkpoint folder, an `.onnx` file, or the id of a model at the Hugging Face Hub. */
  readonly source: string;
  /** The folder to write; it must not exist unless `force`. Not needed for a dry run. */
  readonly output?: string;
  /** Default "landmark" with `calibrate`, else "positive". */
  readonly features?: FeatureChoice | "landmark";
  /** h of generalized attention, for features that are an elementwise function; default 1. */
  readonly keyFactor?: NonNullable<ConvertOptions["keyFactor"]>;
  /** Features per head, M; default 256. */
  readonly count?: number;
  /** Default "orthogonal". */
  readonly projection?: NonNullable<ConvertOptions["projection"]>;
  /** Seed of the projections, the draws from data files and the masks; default 0. */
  readonly seed?: number;
  /** Draws of each head's calibrated positive features; the best on the calibration data is used. Default 4. */
  readonly seeds?: number;
  /** Gradient-descent steps on each head's landmarks after their fit; default 0. */
  readonly refine?: number;
  /** The most queries per block of exact attention and of windows; default: by the length of the input. */
  readonly block?: number;
  /** Layers to keep as softmax, counted from 0. */
  readonly keep?: readonly number[];
  /**
   * The allowed loss on the evaluation data, in points of masked accuracy or of the cosine. To stay within it, as few
   * layers as possible are kept as softmax, those with the largest error first.
   */
  readonly budget?: number;
  /**
   * Width of the blocks of keys that are exact beside the features, a multiple of 16: each query sees its own block, the two
   * around it and the first key exactly. "auto": calibration chooses it for each layer, and the numbers of chosen blocks and
   * features if they are not given. Default "auto" with landmark features if none of the three is given, else 0: none.
   */
  readonly window?: number | "auto";
  /** How many further blocks are exact, chosen for each block of queries; default 0. */
  readonly chosenBlocks?: number;
  /** Also convert cross-attention. */
  readonly cross?: boolean;
  /** Operators for causal attention; default "standard". */
  readonly target?: NonNullable<ConvertOptions["target"]>;
  /** Make a causal model take and return its state. */
  readonly stateful?: boolean;
  /**
   * Grow the position table to this many tokens. Sequences of data files are no longer than this, nor than the original
   * reads; longer ones give windows.
   */
  readonly maxLength?: number;
  /** How to grow it: by repeating it (default) or by stretching it. */
  readonly growth?: "tile" | "interpolate";
  /** Data file to calibrate on. */
  readonly calibrate?: string;
  /** Sequences to calibrate on; default 200. */
  readonly calibrateCount?: number;
  /** Data file to compare both models on. */
  readonly evaluate?: string;
  /** Sequences to compare on; default 500. */
  readonly evaluateCount?: number;
  /** How an embedding is made of the vectors of a text's tokens, for the comparison. Default: as the checkpoint says. */
  readonly pooling?: PoolingMode;
  /** JSON field, or CSV, TSV or Parquet column, with the text. Default: "text"; in files without it, "sequence". */
  readonly column?: string;
  /** Take the beginnings of sequences that are too long, instead of windows spread over them. */
  readonly truncate?: boolean;
  /**
   * Lengths in tokens at which to measure time and memory of both models; "auto": the longest that the model takes, up to
   * 2,048, and a quarter of it. Default: none. The command line passes "auto" with `evaluate`.
   */
  readonly speed?: readonly number[] | "auto";
  /** Threads of onnxruntime and of the fit; default: one per core. */
  readonly threads?: number;
  /** Replace an output folder that an earlier run wrote. */
  readonly force?: boolean;
  /** Rewrite in memory and report the sites; measure and write nothing. */
  readonly dryRun?: boolean;
}

/** Some seconds of evaluating masks: enough for 4,096 positions in models with a fixed length. */
export const maskOperations = 6e8;

/** Default of `count`, features per head. */
export const defaultCount = 256;

/** Default of `seeds`. */
const defaultSeeds = 4;

/** Features that can be calibrated on the statistics of queries and keys. */
const calibratedFeatures: readonly string[] = ["landmark", "positive", "oprf", "dense-exponential"];

/** Features that estimate exp(q.k) itself, so that exact keys can stand beside them. */
const featuresWithScale: readonly string[] = ["landmark", "positive", "hyperbolic", "oprf", "dense-exponential"];

/**
 * Checks a request's options and fills in defaults.
 *
 * @throws {UsageError} `bad-arguments` for options that contradict each other.
 */
export function optionsOf(request: ConvertRequest): FavorOptions {
  const { calibrate, maxLength, budget, count = defaultCount, seed = 0, keep = [] } = request;
  const features = request.features ?? (calibrate === undefined ? "positive" : "landmark");
  const isLandmark = features === "landmark";
  const isSelected = features === "positive" && calibrate !== undefined;
  refuseIf(
    request.keyFactor !== undefined && !generalizedChoices.some((choice) => choice === features),
    `--key-factor multiplies the features of generalized attention (${generalizedChoices.join(", ")}); ${features} has no such factor. Remove one of the two.`,
  );
  refuseIf(
    isLandmark && calibrate === undefined,
    "Landmark features are fitted to data: pass a file of your sequences with --calibrate.",
  );
  refuseIf(
    calibrate !== undefined && !calibratedFeatures.includes(features),
    `--calibrate is for ${calibratedFeatures.join(", ")} features; ${features} attention has nothing to calibrate. Remove one of the two.`,
  );
  refuseIf(
    isLandmark && request.projection !== undefined,
    "--projection is for random features; landmarks come from the calibration data. Remove one of the two.",
  );
  refuseIf(request.refine !== undefined && !isLandmark, "--refine moves landmarks: it needs --features landmark.");
  refuseIf(
    request.seeds !== undefined && !isSelected,
    "--seeds chooses among draws of calibrated positive features: it needs --features positive and --calibrate.",
  );
  refuseIf(
    request.growth !== undefined && maxLength === undefined,
    "--growth says how --max-length grows the position table: pass both.",
  );
  refuseIf(
    request.calibrateCount !== undefined && calibrate === undefined,
    "--calibrate-count says how much calibration data to read: pass its file with --calibrate.",
  );
  refuseIf(
    request.evaluateCount !== undefined && request.evaluate === undefined,
    "--evaluate-count says how much evaluation data to read: pass its file with --evaluate.",
  );
  const hasData = calibrate !== undefined || request.evaluate !== undefined;
  refuseIf(
    request.column !== undefined && !hasData,
    "--column names a column of a data file: pass one with --calibrate or --evaluate.",
  );
  refuseIf(
    request.truncate === true && !hasData,
    "--truncate cuts sequences of a data file: pass one with --calibrate or --evaluate.",
  );
  refuseIf(
    request.pooling !== undefined && request.evaluate === undefined,
    "--pooling says how the embeddings are made that both models are compared by: pass a file of texts with --evaluate.",
  );
  refuseIf(
    budget !== undefined && request.evaluate === undefined,
    "--budget limits the loss on evaluation data: pass a file of it with --evaluate.",
  );
  refuseIf(
    request.stateful === true && request.evaluate !== undefined,
    "--evaluate feeds whole sequences without a state: measure a conversion without --stateful, which computes the same.",
  );
  const { chosenBlocks = 0 } = request;
  const window = request.window === "auto" ? 0 : (request.window ?? 0);
  const chosen = chosenOf(request, isLandmark);
  refuseIf(
    request.window === "auto" && !isLandmark,
    "--window auto lets calibration choose: it needs --calibrate, and landmark features.",
  );
  refuseIf(window % 16 !== 0, `--window takes 0 or a multiple of 16, such as 32 or 64; found ${window}.`);
  refuseIf(
    chosenBlocks > 0 && window === 0 && !chosen.includes("window"),
    "--chosen-blocks needs the width of a block: pass --window 32, or another multiple of 16.",
  );
  refuseIf(
    window > 0 && !featuresWithScale.includes(features),
    `--window needs features whose estimates have a scale (${featuresWithScale.join(", ")}); ${features} has none. Remove one of the two.`,
  );
  refuseIf(
    (window > 0 || request.window === "auto") && request.stateful === true,
    "--window keeps keys that --stateful has no state for. Remove one of the two.",
  );
  return {
    features,
    ...(request.keyFactor !== undefined && { keyFactor: request.keyFactor }),
    count,
    seed,
    keep: [...new Set(keep)].toSorted((a, b) => a - b),
    ...(isLandmark ? { refine: request.refine ?? 0 } : { projection: request.projection ?? "orthogonal" }),
    ...(isSelected && { seeds: request.seeds ?? defaultSeeds }),
    ...(budget !== undefined && { budget }),
    ...(window > 0 && { window, chosenBlocks }),
    ...(window === 0 && chosenBlocks > 0 && { chosenBlocks }),
    ...(chosen.length > 0 && { chosen }),
    ...(request.pooling !== undefined && { pooling: request.pooling }),
    ...(request.block !== undefined && { block: request.block }),
    ...(request.cross === true && { cross: true }),
    ...(request.target !== undefined && { target: request.target }),
    ...(request.stateful === true && { stateful: true }),
    ...(maxLength !== undefined && { maxLength, growth: request.growth ?? "tile" }),
  };
}

/** Checks that --block changes something: that attention is computed by blocks at all. */
export function checkBlock({ block, features, keep }: FavorOptions, sites: readonly SiteReport[]): void {
  const hasBlocks = sites.some(
    ({ layer, possible }) =>
      !keep.includes(layer) &&
      (possible.includes("band") || (features === "exact" && possible.includes("exact by block"))),
  );
  refuseIf(
    block !== undefined && sites.length > 0 && !hasBlocks,
    "--block sets how many queries a block of exact attention or of a window has, but this conversion has neither. " +
      (features === "exact" ? "Leave it out." : "Leave it out, or convert with --features exact."),
  );
}

/**
 * What calibration chooses of exact keys and features: all three if none is given, and with the window "auto" what is not
 * given.
 */
function chosenOf(
  { window, chosenBlocks, count, stateful }: ConvertRequest,
  isCalibrated: boolean,
): NonNullable<FavorOptions["chosen"]> {
  const isOpen = window === undefined && chosenBlocks === undefined && count === undefined && stateful !== true;
  if (!isCalibrated || !(isOpen || window === "auto")) return [];
  return [
    "window",
    ...(chosenBlocks === undefined ? (["chosenBlocks"] as const) : []),
    ...(count === undefined ? (["count"] as const) : []),
  ];
}

/** Checks that the model has the layers of --keep. */
export function checkKept(keep: readonly number[], layers: ReadonlySet<number>): void {
  const unknown = keep.filter((layer) => !layers.has(layer));
  refuseIf(
    unknown.length > 0 && layers.size > 0,
    `--keep names layer ${unknown.join(", ")}, but the model's attention is in layers ` +
      `${Math.min(...layers)} to ${Math.max(...layers)}, counted from 0.`,
  );
}
