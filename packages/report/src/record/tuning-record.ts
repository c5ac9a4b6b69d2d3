import { z } from "zod";

import type { Evaluation, MaskedQuality } from "@favor/measure";
import { evaluationSchema } from "./evaluation-schema.ts";
import { count, qualitySchema } from "./quality-schema.ts";

/** One evaluation during training. `step` counts from the beginning of the first stage. */
export interface CurvePoint {
  readonly step: number;
  /** What `curveOf` names, such as masked accuracy; 0 to 1 as a rule, more is better. */
  readonly value: number;
}

const point: z.ZodType<CurvePoint> = z.object({ step: count, value: z.number() });
/** As points were written when all curves were of masked accuracy. */
const olderPoint = z
  .object({ step: count, accuracy: z.number() })
  .transform(({ step, accuracy }): CurvePoint => ({ step, value: accuracy }));

/** The schema of a curve. */
export const curveSchema: z.ZodType<readonly CurvePoint[]> = z.array(z.union([point, olderPoint]));

/** The effect of distillation on one attention. */
export interface DistilledSite {
  /** The value that holds the attention's output. */
  readonly site: string;
  /** The layer; absent unless all converted attentions are distilled. */
  readonly layer?: number;
  /** Mean squared error of the output divided by its variance, on held-out sequences. A constant would reach 1. */
  readonly before: number;
  readonly after: number;
}

const distilledSite: z.ZodType<DistilledSite> = z.object({
  site: z.string(),
  layer: count.exactOptional(),
  before: z.number(),
  after: z.number(),
});

const stageNames = ["distill", "align", "mlm", "control"] as const;

/** The record of one stage; `control` is MLM fine-tuning of the softmax original. */
export interface TuningStage {
  readonly name: (typeof stageNames)[number];
  /** Steps done; fewer than requested if patience ended the stage. */
  readonly steps: number;
  /** The step of the stage whose weights were kept. */
  readonly kept: number;
  readonly learningRate: number;
  readonly seconds: number;
  /** For distillation, its effect on each attention. */
  readonly sites?: readonly DistilledSite[];
}

/** The schema of {@link TuningStage}. */
export const stageSchema: z.ZodType<TuningStage> = z.object({
  name: z.enum(stageNames),
  steps: count,
  kept: count,
  learningRate: z.number(),
  seconds: z.number(),
  sites: z.array(distilledSite).exactOptional(),
});

/** All models of a run measured on the same masked tokens. */
export interface TunedPredictions {
  readonly file: string;
  readonly sequences: number;
  readonly maskedTokens: number;
  readonly original?: MaskedQuality;
  readonly before: MaskedQuality;
  readonly after: MaskedQuality;
  readonly control?: MaskedQuality;
  /** The quality of a hybrid with its remaining softmax layers set to zero, before and after. */
  readonly ablated?: {
    readonly layers: readonly number[];
    readonly before: MaskedQuality;
    readonly after: MaskedQuality;
  };
}

/** A model that does not predict masked tokens, compared with its original on the same sequences. */
export interface TunedUse {
  readonly file: string;
  readonly sequences: number;
  readonly before: Evaluation;
  readonly after: Evaluation;
}

/** How a data file was used. */
interface TrainingUse {
  readonly file: string;
  readonly sha256: string;
  /** Records that were trained on. */
  readonly records: number;
  /** Records that were left out, because the result was measured on them. */
  readonly heldOut: number;
  /** Records that weights were chosen by, and not trained on; absent in older records: none. */
  readonly validation?: number;
}

/** What favor-tune did to a converted model: `tuning` in `favor.json`. */
export interface TuningRecord {
  readonly versions: Readonly<Record<string, string>>;
  /** The options, with defaults filled in. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  /** SHA-256 of the converted model that training began with. */
  readonly from: string;
  readonly backend: string;
  readonly data: TrainingUse;
  readonly stages: readonly TuningStage[];
  /** What the curves show; absent in older records: masked accuracy. */
  readonly curveOf?: string;
  /** Quality during training, on the records that weights were chosen by; in older records, on those that were measured on. */
  readonly curve: readonly CurvePoint[];
  /** The same for the softmax original, trained in the same way. */
  readonly controlCurve?: readonly CurvePoint[];
  /** What the curves would show for the original, unless they compare with it. */
  readonly originalValue?: number;
  /** By what the model is used for. */
  readonly measured: TunedPredictions | TunedUse;
}

/** Whether a model was measured by the masked tokens that it predicts. */
export function predictsMasks(measured: TuningRecord["measured"]): measured is TunedPredictions {
  return "maskedTokens" in measured;
}

const predictions: z.ZodType<TunedPredictions> = z.object({
  file: z.string(),
  sequences: count,
  maskedTokens: count,
  original: qualitySchema.exactOptional(),
  before: qualitySchema,
  after: qualitySchema,
  control: qualitySchema.exactOptional(),
  ablated: z.object({ layers: z.array(z.int()), before: qualitySchema, after: qualitySchema }).exactOptional(),
});

const use: z.ZodType<TunedUse> = z.object({
  file: z.string(),
  sequences: count,
  before: evaluationSchema,
  after: evaluationSchema,
});

/** The schema of {@link TuningRecord}. */
export const tuningRecordSchema: z.ZodType<TuningRecord> = z.object({
  versions: z.record(z.string(), z.string()),
  settings: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  from: z.string(),
  backend: z.string(),
  data: z.object({
    file: z.string(),
    sha256: z.string(),
    records: count,
    heldOut: count,
    validation: count.exactOptional(),
  }),
  stages: z.array(stageSchema),
  curveOf: z.string().exactOptional(),
  curve: curveSchema,
  controlCurve: curveSchema.exactOptional(),
  originalValue: z.number().exactOptional(),
  measured: z.union([predictions, use]),
});
