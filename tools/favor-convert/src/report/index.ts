// What other tools of the family share: pages, tables and charts of reports.
export { barChart, barOf, curveChart } from "./charts.ts";
export type { Bar, ChartText, Line } from "./charts.ts";
export { favorFileSchema } from "./favor-file.ts";
export type { FavorFile } from "./favor-file.ts";
export type { DataUse } from "../tokens/load-sequences.ts";
export type { DataWarning } from "../tokens/doubtful-data.ts";
export type { Evaluation } from "../measure/evaluation.ts";
export { modelCard } from "./model-card.ts";
export { percent, percentWithInterval, short, withInterval } from "./numbers.ts";
export { Html, facts, html, page, table } from "./page.ts";
export type { Cell } from "./page.ts";
export { reportPage } from "./report.ts";
export { describeEvaluation, summary } from "./summary.ts";
export { curveSchema, stageSchema } from "./tuning-record.ts";
export type { CurvePoint, DistilledSite, TunedQuality, TuningRecord, TuningStage } from "./tuning-record.ts";
export { writeReport } from "./write-report.ts";
