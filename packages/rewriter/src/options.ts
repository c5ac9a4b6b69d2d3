import {
  ArgumentError,
  elementwiseFunctions,
  type ElementwiseFunction,
  type FeatureMapDescription,
  type ProjectionKind,
  rowFactorExponents,
  type RowFactorName,
} from "@favor/core";
import { type HeadMoments } from "@favor/core/calibration";

/**
 * Feature maps by name. Estimates of the softmax kernel: "positive" (FAVOR+), "trigonometric" (2006.03555, cosines with a
 * phase) and "trigonometric-pair" (cosines and sines, 2 M wide),
 * "hyperbolic", "oprf" (FAVOR++), "dense-exponential" (FAVOR#). Kernels of their own: an elementwise function
 * ("relu", "exp", ... : generalized attention, f(w.x) + 0.001, see {@link ConvertOptions.keyFactor}), "elu" (elu(x) + 1)
 * and "squared-relu", both of width d. "exact" writes the same attention again by blocks of queries, to the last digits, without a tensor of queries x keys.
 */
export type FeatureChoice =
  | "positive"
  | "trigonometric"
  | "trigonometric-pair"
  | "hyperbolic"
  | "oprf"
  | "dense-exponential"
  | "elu"
  | ElementwiseFunction
  | "exact";

/** Every {@link FeatureChoice}, the default first. */
export const featureChoices: readonly FeatureChoice[] = [
  "positive",
  "trigonometric",
  "trigonometric-pair",
  "hyperbolic",
  "oprf",
  "dense-exponential",
  "elu",
  ...(Object.keys(elementwiseFunctions) as ElementwiseFunction[]),
  "exact",
];

/** Features that a key factor multiplies: f(w.x) + 0.001. Here, "squared-relu" names a different map, without a projection. */
export const generalizedChoices: readonly FeatureChoice[] = (
  Object.keys(elementwiseFunctions) as ElementwiseFunction[]
).filter((name) => name !== "squared-relu");

/** Every name of a factor of keys. */
export const keyFactors: readonly RowFactorName[] = Object.keys(rowFactorExponents) as RowFactorName[];

function checkKeyFactor(keyFactor: RowFactorName | undefined, features: FeatureChoice): void {
  if (keyFactor === undefined) return;
  if (!keyFactors.includes(keyFactor)) {
    throw new ArgumentError("options.keyFactor", `one of ${keyFactors.join(", ")}`, keyFactor);
  }
  if (!generalizedChoices.includes(features)) {
    const expected = `none with "${features}" features; it is for ${generalizedChoices.join(", ")}`;
    throw new ArgumentError("options.keyFactor", expected, keyFactor);
  }
}

const projectionKinds: readonly ProjectionKind[] = ["orthogonal", "iid", "hadamard", "givens"];

export interface FindOptions {
  /**
   * Limit on the operations for evaluating all masks together. Layers whose masks need more are refused. Default 4e7,
   * about a second: enough for masks of 1,024 by 1,024 positions in a model that runs at no smaller size.
   */
  readonly maskOperations?: number;
}

/**
 * Which keys of an attention are exact, beside an estimate of all others by features; `hybridAttention` of @favor/core is
 * the definition. Blocks are counted from the first position.
 */
export interface ExactKeys {
  /**
   * The width of a block of queries or keys, a multiple of 16; 0: no key is exact. In self-attention each query sees its own
   * block exactly, the two around it (causal: the one before), and the first key that the mask shows. Cross-attention has
   * chosen blocks only.
   */
  readonly window: number;
  /**
   * How many further blocks of keys are exact, chosen for each block of queries by `averagedQueries` of @favor/core (beyond
   * 1,024 positions with means of 2, 4, 8 or 16 keys). Default 0.
   */
  readonly chosenBlocks?: number;
  /** How many queries are averaged to choose blocks; it divides the window. Default 16. */
  readonly group?: number;
}

export interface ConvertOptions extends FindOptions {
  /** Default "positive". */
  readonly features?: FeatureChoice;
  /**
   * h of generalized attention, A_ij = g(q_i) K(q_i, k_j) h(k_j) (2006.03555, section 2.2), for features that are an
   * elementwise function. Default: 1. g cancels in the normaliser.
   */
  readonly keyFactor?: RowFactorName;
  /** Random features per head, M. Default 256. "elu" and "squared-relu" have none and ignore it. */
  readonly count?: number;
  /** Default "orthogonal". Every kind is written as a dense matrix. */
  readonly projection?: ProjectionKind;
  /** Default 0. */
  readonly seed?: number;
  /** Layers that stay softmax, 0-based. Default none. */
  readonly keep?: readonly number[];
  /**
   * Statistics per site and head, from {@link tapMoments} runs: "positive" becomes `calibrate`'s feature map, "oprf"
   * and "dense-exponential" take their exponents from them. Sites without any get uncalibrated features.
   */
  readonly moments?: readonly (readonly HeadMoments[] | undefined)[];
  /**
   * Feature maps per site and head, made elsewhere (`calibrate`, `fitLandmarks`). They take precedence over `features`
   * and `moments`. Sites without any are converted as the other options say. An empty list is for a site with exact keys
   * that is to attend to nothing else.
   */
  readonly featureMaps?: readonly (readonly FeatureMapDescription[] | undefined)[];
  /**
   * Keys that are exact beside the features, which must have an exponential form: for all sites, or a list by site
   * (`undefined`: none). Default none.
   */
  readonly exactKeys?: ExactKeys | readonly (ExactKeys | undefined)[];
  /** Longest input, in tokens: position tables are grown to it. Default: as exported. */
  readonly maxLength?: number;
  /**
   * The operators to write: "standard" ones; "onnxruntime"'s own LinearAttention for causal linear attention, and
   * MultiHeadAttention for exact attention that is not causal; or the standard LinearAttention of "onnx27" for causal linear
   * attention, which raises the model's opset. Default "standard".
   */
  readonly target?: "standard" | "onnxruntime" | "onnx27";
  /**
   * Makes the state of every attention, of constant size, an input and an output, so that you can feed a sequence token
   * by token or in pieces; see {@link statefulInputs}. All self-attention must be causal and converted. Default false.
   */
  readonly stateful?: boolean;
  /** Also convert cross-attention. Default false: it stays, with a note. */
  readonly cross?: boolean;
  /**
   * The most queries per block, of "exact" features and of windows. Default "auto": 256 for up to 2,048 queries and 96
   * for more, and 128 in windows. Small blocks take less memory and more time.
   */
  readonly block?: number | "auto";
  /**
   * For "exact" features: what the weights are computed from. "graph", the default, takes the graph's own nodes between
   * the two products, whatever they are, where they compute each query's row by itself. "proof" takes nothing but the
   * scale and mask that were proved, so that comparing outputs tests the proof.
   */
  readonly rows?: "graph" | "proof";
  /** How a position table grows: repeated (default), or stretched by interpolation. */
  readonly growth?: "tile" | "interpolate";
}

type Given = "keyFactor" | "moments" | "featureMaps" | "exactKeys" | "maxLength" | "maskOperations";
/** Options with their defaults. */
export type Settings = Required<Omit<ConvertOptions, Given>> & Pick<ConvertOptions, Given>;

/** @throws ArgumentError for options that cannot be right */
export function checkOptions(options: ConvertOptions): Settings {
  const { features = "positive", count = 256, projection = "orthogonal", seed = 0, maxLength, keep = [] } = options;
  if (!featureChoices.includes(features)) {
    throw new ArgumentError("options.features", `one of ${featureChoices.join(", ")}`, features);
  }
  if (!projectionKinds.includes(projection)) {
    throw new ArgumentError("options.projection", `one of ${projectionKinds.join(", ")}`, projection);
  }
  if (!Number.isInteger(count) || count < 1 || count > 65_536) {
    throw new ArgumentError("options.count", "an integer from 1 to 65536", count);
  }
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new ArgumentError("options.seed", "an integer of at least 0", seed);
  if (maxLength !== undefined && (!Number.isInteger(maxLength) || maxLength < 1)) {
    throw new ArgumentError("options.maxLength", "a positive integer", maxLength);
  }
  if (options.stateful === true && features === "exact") {
    throw new ArgumentError("options.features", "linear attention if options.stateful is set", features);
  }
  checkKeyFactor(options.keyFactor, features);
  checkExactKeys(options, features);
  const { block = "auto", rows = "graph" } = options;
  if (block !== "auto" && (!Number.isInteger(block) || block < 1 || block > 65_536)) {
    throw new ArgumentError("options.block", 'an integer from 1 to 65536 or "auto"', block);
  }
  if (rows !== "graph" && rows !== "proof") throw new ArgumentError("options.rows", '"graph" or "proof"', rows);
  const bad = keep.find((layer) => !Number.isInteger(layer) || layer < 0);
  if (bad !== undefined) throw new ArgumentError("options.keep", "layer numbers from 0", bad);
  return {
    growth: "tile",
    target: "standard",
    cross: false,
    stateful: false,
    ...options,
    features,
    count,
    projection,
    seed,
    keep,
    block,
    rows,
  };
}

/** The first opset that can write exact keys: ScatterElements and Range came with it. */
export const exactKeysOpset = 11;

/** Features whose estimate of exp(q.k) has no absolute scale, which exact keys need beside them. */
const withoutScale: readonly FeatureChoice[] = featureChoices.filter(
  (choice) => !["positive", "hyperbolic", "oprf", "dense-exponential"].includes(choice),
);

function checkExactKeys({ exactKeys, featureMaps, stateful }: ConvertOptions, features: FeatureChoice): void {
  const given = exactKeysList(exactKeys);
  for (const { window, chosenBlocks = 0, group = 16 } of given) {
    if (!Number.isInteger(window) || window < 0 || window > 65_536 || window % 16 !== 0) {
      throw new ArgumentError("options.exactKeys.window", "0 or a multiple of 16 up to 65536", window);
    }
    if (!Number.isInteger(chosenBlocks) || chosenBlocks < 0 || chosenBlocks > 65_536) {
      throw new ArgumentError("options.exactKeys.chosenBlocks", "an integer from 0 to 65536", chosenBlocks);
    }
    if (!Number.isInteger(group) || group < 1 || window % group !== 0) {
      throw new ArgumentError("options.exactKeys.group", `a number that divides the window (${window})`, group);
    }
    if (window === 0 && chosenBlocks > 0) {
      throw new ArgumentError("options.exactKeys.window", "the width of the chosen blocks, at least 16", window);
    }
  }
  if (given.every(({ window }) => window === 0)) return;
  if (stateful === true) {
    throw new ArgumentError("options.exactKeys", "no exact keys if options.stateful is set", exactKeys);
  }
  if (features === "exact" || (featureMaps === undefined && withoutScale.includes(features))) {
    throw new ArgumentError("options.features", "features with an exponential form alongside exact keys", features);
  }
}

/** The exact keys that options give, of all sites. */
function exactKeysList(exactKeys: ConvertOptions["exactKeys"]): readonly ExactKeys[] {
  if (exactKeys === undefined) return [];
  return isList(exactKeys) ? exactKeys.filter((each) => each !== undefined) : [exactKeys];
}

/** The exact keys that options give for a site; undefined for none. */
export function exactKeysOf({ exactKeys }: Pick<ConvertOptions, "exactKeys">, site: number): ExactKeys | undefined {
  const given = exactKeys !== undefined && isList(exactKeys) ? exactKeys[site] : exactKeys;
  return given === undefined || given.window === 0 ? undefined : given;
}

const isList = <T>(given: T | readonly T[]): given is readonly T[] => Array.isArray(given);
