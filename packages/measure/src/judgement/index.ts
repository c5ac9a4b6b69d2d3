export { isBad, judgementOf, lossInPoints, measuresOf, qualityOf, shownMeasure, thresholds } from "./judgement.ts";
export type { Degree, Judged, Judgement, MeasureName } from "./judgement.ts";
export { warningsAbout } from "./quality-warnings.ts";
