import { textTable } from "@favor/command-line";
import { counted, grouped, percent, short } from "@favor/measure/numbers";
import { measuresOf } from "@favor/measure/judgement";
import type { PassCost } from "@favor/report";
import { meaningOf } from "@favor/report";

import type { Advice, AdviceRow } from "./request.ts";

/** The output of `advise`: the table, what its numbers are, and the recommendation last. */
export function adviceText(advice: Advice): string {
  const { lengths, rows, threads, machine, data, rule, recommendation, notes } = advice;
  const [original] = rows;
  const table = textTable(
    ["attention", "quality", "loss", ...lengths.map((length) => `${grouped(length)} tokens`)],
    rows.map((row) => [
      row.name,
      ...qualityCells(row, row === original),
      ...lengths.map((_, i) => costCell(row.costs[i] ?? null, row === original ? null : (original?.costs[i] ?? null))),
    ]),
  );
  const evaluation = rows.find((row) => row.evaluation !== undefined)?.evaluation;
  return [
    table,
    ...rows.flatMap(({ name, failure }) => (failure === undefined ? [] : [`${name}: ${failure}`])),
    "Time of one sequence, its share of the time of the model as it is, and the peak memory of the process, model and runtime " +
      `included. Measured in turns with ${counted(threads, "thread")} on ${machine}.`,
    ...(evaluation === undefined
      ? [unknownQuality]
      : [`Quality: ${measureNames(evaluation)}. ${meaningOf(evaluation)}`]),
    ...(data === undefined
      ? []
      : [
          `Calibrated on ${counted(data.calibration.sequences, "sequence")} and measured on ` +
            `${counted(data.evaluation.sequences, "other")} of ${data.evaluation.file} (${grouped(data.evaluation.tokens)} ` +
            "tokens): a short measurement. Loss is in points, on the longest sequences.",
        ]),
    ...notes,
    rule,
    ...(recommendation === undefined
      ? ["Nothing could be measured at the longest length: pass shorter --lengths."]
      : [recommendation.reason, ...(recommendation.command === undefined ? [] : [`  ${recommendation.command}`])]),
  ].join("\n");
}

const unknownQuality =
  "The quality of approximations is not known without data, and they were not calibrated: pass a file of your texts or " +
  "sequences with --data.";

type Measure = NonNullable<AdviceRow["evaluation"]>;

function measureNames(evaluation: Measure): string {
  return measuresOf(evaluation)
    .map(({ measure }) => measure)
    .join(", ");
}

function qualityCells({ isLossless, evaluation, loss, failure }: AdviceRow, isOriginal: boolean): [string, string] {
  if (isLossless) return [isOriginal || failure === undefined ? "the original's" : "", ""];
  if (evaluation === undefined || loss === undefined) return [failure === undefined ? "not known" : "", ""];
  const values = measuresOf(evaluation).map(({ measure, value }) =>
    measure.startsWith("share") || measure.startsWith("agreement") ? percent(value) : short(value),
  );
  return [values.join(", "), loss.toFixed(2)];
}

function costCell(cost: PassCost | null, original: PassCost | null): string {
  if (cost === null) return "not measured";
  const time =
    cost.seconds < 1 ? `${short(Number((1000 * cost.seconds).toPrecision(3)))} ms` : `${cost.seconds.toPrecision(3)} s`;
  const share = original === null ? "" : ` (${(cost.seconds / original.seconds).toFixed(2)})`;
  return `${time}${share}, ${grouped(Math.round(cost.peakBytes / 1e6))} MB`;
}
