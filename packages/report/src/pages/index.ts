export { barChart, barOf, curveChart, methodColor } from "./charts.ts";
export type { Bar, ChartText, Line } from "./charts.ts";
export { comparisonPage } from "./comparison.ts";
export type { ComparedModel } from "./comparison.ts";
export { modelCard } from "./model-card.ts";
export { Html, facts, html, page, table } from "./page.ts";
export type { Cell } from "./page.ts";
export { reportPage } from "./report.ts";
export { writeReport } from "./write-report.ts";
