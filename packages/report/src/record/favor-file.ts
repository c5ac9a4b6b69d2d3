import { checkpointTasks } from "@favor/checkpoints";
import type { CheckpointTask } from "@favor/checkpoints";
import { poolingModes } from "@favor/checkpoints/node";
import type { PoolingMode, WrittenFile } from "@favor/checkpoints/node";
import type { Alibi, Band, ConvertOptions, ConvertedSite, FeatureChoice } from "@favor/rewriter";
import { featureChoices, keyFactors } from "@favor/rewriter";
import { z } from "zod";

import type { Evaluation } from "@favor/measure";
import { dataWarningCodes } from "@favor/measure/tokens";
import type { DataUse, DataWarning } from "@favor/measure/tokens";
import { cardFactsSchema } from "./card-facts.ts";
import type { CardFacts } from "./card-facts.ts";
import { dataUseSchema, evaluationSchema } from "./evaluation-schema.ts";
import { count } from "./quality-schema.ts";
import { tuningRecordSchema } from "./tuning-record.ts";
import type { TuningRecord } from "./tuning-record.ts";

/** How far a site's linear attention is from softmax: |P_hat - P|_F / |P|_F of the attention matrices, over its heads. */
export interface SiteError {
  readonly mean: number;
  readonly worst: number;
  /** The error of each head. Older files have none. */
  readonly heads?: readonly number[];
  /** Mean errors of the near field alone, and with the chosen blocks; only where keys are exact. */
  readonly parts?: { readonly near: number; readonly chosen: number };
}

/** What `favor.json` leaves out of a site, or has in short. */
type NotRecorded = "verdict" | "possible" | "notByBlock" | "mask" | "reasons" | "featureMaps" | "folded";

/**
 * One attention and what became of it: a {@link ConvertedSite}, with its heads' feature maps in short. The codes of the
 * mask and of the reasons are plain text, so that a file by another version can be read.
 */
export interface FavorSite extends Omit<ConvertedSite, NotRecorded> {
  readonly mask: { readonly kind: string; readonly evidence: string; readonly band?: Band; readonly alibi?: Alibi };
  readonly reasons: readonly { readonly code: string; readonly message: string }[];
  readonly featureMap?: {
    readonly kind: string;
    /** Features per head. */
    readonly width: number;
    /** What `createProjection` of @favor/core takes, besides the number of the head. */
    readonly projection?: {
      readonly kind: string;
      readonly count: number;
      readonly seed: number;
      readonly layer: number;
      /** Which draw of the seed was chosen for each head; absent: the first, 0. */
      readonly epochs?: readonly number[];
    };
    readonly folded?: NonNullable<ConvertedSite["folded"]>;
  };
  /** Present if measured, which needs `--calibrate` or `--evaluate`. */
  readonly error?: SiteError;
}

/** A site as this version writes it. A file of another version may have codes that this version does not know. */
export interface WrittenSite extends FavorSite {
  readonly reasons: ConvertedSite["reasons"];
}

/** The options of a conversion, with defaults filled in. */
export interface FavorOptions {
  readonly features: FeatureChoice | "landmark";
  /** h of generalized attention; absent: 1. */
  readonly keyFactor?: NonNullable<ConvertOptions["keyFactor"]>;
  /** Features per head. */
  readonly count: number;
  readonly seed: number;
  /** Kind of the random projections. */
  readonly projection?: NonNullable<ConvertOptions["projection"]>;
  /** Number of draws of calibrated positive features to choose from. */
  readonly seeds?: number;
  /** Gradient-descent steps on the landmarks. */
  readonly refine?: number;
  /** Layers that the user asked to keep as softmax. */
  readonly keep: readonly number[];
  /** The allowed loss, in points. */
  readonly budget?: number;
  /** How the embeddings were made that the models were compared by, if the user said it. */
  readonly pooling?: PoolingMode;
  /** Most queries per block of exact attention and of windows, if it was chosen. */
  readonly block?: number;
  readonly cross?: true;
  /** Width of the blocks of exact keys, and how many are chosen besides the near ones; absent: none. */
  readonly window?: number;
  readonly chosenBlocks?: number;
  /** What calibration chose for each layer; the sites tell it. */
  readonly chosen?: readonly ("window" | "chosenBlocks" | "count")[];
  readonly target?: NonNullable<ConvertOptions["target"]>;
  readonly stateful?: true;
  /** Length in tokens that the position table was grown to. */
  readonly maxLength?: number;
  readonly growth?: "tile" | "interpolate";
}

/** The contents of `favor.json`, which every converted folder has. */
export interface FavorFile {
  /** Version of the format; raised if a change would mislead older readers. What is read is brought to this version. */
  readonly format: 3;
  readonly versions: Readonly<Record<string, string>>;
  /**
   * `revision`: the commit, if the source comes from the Hub. `task`: the head of a graph that was built from weights, if
   * it was chosen.
   */
  readonly source: {
    readonly name: string;
    readonly revision?: string;
    readonly task?: CheckpointTask;
    readonly model: string;
    readonly sha256: string;
    readonly bytes: number;
  };
  readonly model: { readonly file: string; readonly sha256: string; readonly bytes: number };
  /** What the model card says besides. Older files have none. */
  readonly card?: CardFacts;
  readonly options: FavorOptions;
  readonly sites: readonly FavorSite[];
  readonly notes: readonly string[];
  /** Reasons to doubt the calibration or the measured quality, if any. */
  readonly warnings?: readonly DataWarning[];
  readonly calibration?: DataUse;
  readonly evaluation?: Evaluation;
  /** What favor-tune did, if it was used. */
  readonly tuning?: TuningRecord;
  /** Every other file of the folder that Favor wrote, by name: what `--force` may replace. Older files have none. */
  readonly files?: readonly WrittenFile[];
}

const site: z.ZodType<FavorSite> = z.object({
  site: count,
  layer: z.int(),
  name: z.string(),
  kind: z.enum(["self", "cross"]),
  heads: count,
  keyValueHeads: count,
  headDim: count,
  scale: z.number(),
  mask: z.object({
    kind: z.string(),
    evidence: z.string(),
    band: z.object({ before: count, after: count, firstKeys: count, firstQueries: count }).exactOptional(),
    alibi: z.object({ slopes: z.array(z.number()), positions: z.enum(["all", "kept"]) }).exactOptional(),
  }),
  causal: z.boolean(),
  state: z.enum(["linear", "band", "exact by block", "unchanged"]),
  because: z.enum(["kept", "refused"]).exactOptional(),
  reasons: z.array(z.object({ code: z.string(), message: z.string() })),
  featureMap: z
    .object({
      kind: z.string(),
      width: count,
      projection: z
        .object({ kind: z.string(), count, seed: count, layer: count, epochs: z.array(count).exactOptional() })
        .exactOptional(),
      folded: z.object({ query: z.boolean(), key: z.boolean() }).exactOptional(),
    })
    .exactOptional(),
  exactKeys: z.object({ window: count, chosenBlocks: count, group: count }).exactOptional(),
  error: z
    .object({
      mean: z.number(),
      worst: z.number(),
      heads: z.array(z.number()).exactOptional(),
      parts: z.object({ near: z.number(), chosen: z.number() }).exactOptional(),
    })
    .exactOptional(),
});

const file = z.object({ sha256: z.string(), bytes: count });

/** The states of sites in format 1; "converted" was linear or exact, as the options say of the whole file. */
const formerSite = z.looseObject({ state: z.enum(["converted", "band", "kept", "refused"]) });
const formerFile = z.looseObject({
  format: z.literal(1),
  options: z.looseObject({ features: z.string() }),
  sites: z.array(formerSite),
});

/** Format 2 had no exact keys; otherwise it is format 3. */
const withoutExactKeys = z.looseObject({ format: z.literal(2) });

/** Brings a file of format 1 or 2 to format 3; anything else stays as it is. */
function upgraded(read: unknown): unknown {
  const second = withoutExactKeys.safeParse(read);
  if (second.success) return { ...second.data, format: 3 };
  const former = formerFile.safeParse(read);
  if (!former.success) return read;
  const { options, sites } = former.data;
  const converted = options.features === "exact" ? "exact by block" : "linear";
  return {
    ...former.data,
    format: 3,
    sites: sites.map(({ state, ...rest }) => {
      if (state === "kept" || state === "refused") return { ...rest, state: "unchanged", because: state };
      return { ...rest, state: state === "band" ? state : converted };
    }),
  };
}

const currentFile: z.ZodType<FavorFile> = z.object({
  format: z.literal(3),
  versions: z.record(z.string(), z.string()),
  source: file.extend({
    name: z.string(),
    revision: z.string().exactOptional(),
    task: z.enum(checkpointTasks).exactOptional(),
    model: z.string(),
  }),
  model: file.extend({ file: z.string() }),
  card: cardFactsSchema.exactOptional(),
  options: z.object({
    features: z.enum([...featureChoices, "landmark"]),
    keyFactor: z.enum(keyFactors).exactOptional(),
    count,
    seed: count,
    projection: z.enum(["orthogonal", "iid", "hadamard", "givens"]).exactOptional(),
    seeds: count.exactOptional(),
    refine: count.exactOptional(),
    keep: z.array(count),
    budget: z.number().exactOptional(),
    pooling: z.enum(poolingModes).exactOptional(),
    block: count.exactOptional(),
    cross: z.literal(true).exactOptional(),
    window: count.exactOptional(),
    chosenBlocks: count.exactOptional(),
    chosen: z.array(z.enum(["window", "chosenBlocks", "count"])).exactOptional(),
    target: z.enum(["standard", "onnxruntime", "onnx27"]).exactOptional(),
    stateful: z.literal(true).exactOptional(),
    maxLength: count.exactOptional(),
    growth: z.enum(["tile", "interpolate"]).exactOptional(),
  }),
  sites: z.array(site),
  notes: z.array(z.string()),
  warnings: z.array(z.object({ code: z.enum(dataWarningCodes), message: z.string() })).exactOptional(),
  calibration: dataUseSchema.exactOptional(),
  evaluation: evaluationSchema.exactOptional(),
  tuning: tuningRecordSchema.exactOptional(),
  files: z.array(file.extend({ file: z.string() })).exactOptional(),
});

/** The schema of `favor.json`, of format 1 to 3. Unknown keys are dropped. */
export const favorFileSchema: z.ZodType<FavorFile> = z.preprocess(upgraded, currentFile);
