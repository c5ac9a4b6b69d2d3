export { attentionCost, breakEvenLength, siteCosts } from "./attention-cost.ts";
export type { SiteCost } from "./attention-cost.ts";
export { describeCrossing } from "./crossing.ts";
export type { CardFacts } from "./record/card-facts.ts";
export { favorFileSchema } from "./record/favor-file.ts";
export type { FavorFile, FavorOptions, FavorSite, SiteError, WrittenSite } from "./record/favor-file.ts";
export type { MeasuredSpeed, PassCost } from "./record/measured-speed.ts";
export { maskName } from "./record/mask-name.ts";
export { readFavorFile } from "./record/read-favor-file.ts";
export { siteRecord } from "./record/site-record.ts";
export { curveSchema, predictsMasks, stageSchema } from "./record/tuning-record.ts";
export type {
  CurvePoint,
  DistilledSite,
  TunedPredictions,
  TunedUse,
  TuningRecord,
  TuningStage,
} from "./record/tuning-record.ts";
export { reportFiles } from "./record/report-files.ts";
export { describeEvaluation, lengthTable, meaningOf } from "./describe-evaluation.ts";
export type { LengthTable } from "./describe-evaluation.ts";
export { describeExactKeys, describeFeatures, describeTuning, summary, verdict } from "./summary.ts";
