export { attentionCost, siteCosts } from "./attention-cost.ts";
export type { CardFacts } from "./record/card-facts.ts";
export { favorFileSchema } from "./record/favor-file.ts";
export type { FavorFile, FavorOptions, FavorSite, SiteError, WrittenSite } from "./record/favor-file.ts";
export type { MeasuredSpeed, PassCost } from "./record/measured-speed.ts";
export { readFavorFile } from "./record/read-favor-file.ts";
export { siteRecord } from "./record/site-record.ts";
export { curveSchema, stageSchema } from "./record/tuning-record.ts";
export type { CurvePoint, DistilledSite, TuningRecord, TuningStage } from "./record/tuning-record.ts";
export { reportFiles } from "./record/report-files.ts";
export {
  describeEvaluation,
  describeExactKeys,
  describeFeatures,
  describeTuning,
  summary,
  verdict,
} from "./summary.ts";
