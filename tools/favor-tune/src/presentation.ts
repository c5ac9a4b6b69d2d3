import { textTable } from "@favor/command-line";
import { describeTuning, predictsMasks, verdict } from "@favor/report";

import { distillationSummary, qualityRows, useColumns, useRows } from "./report/quality-rows.ts";
import type { TuneResult } from "./tune.ts";

/** The output of the command line. */
export function tuningText({ folder, favor }: TuneResult): string {
  const { tuning } = favor;
  if (tuning === undefined) return `Wrote ${folder}.`;
  const { measured } = tuning;
  const table = predictsMasks(measured)
    ? textTable(["model", "masked accuracy (95 %)", "perplexity (95 %)"], qualityRows(measured))
    : textTable(useColumns, useRows(measured));
  const lines = [
    table,
    describeTuning(tuning),
    distillationSummary(tuning),
    `Wrote ${folder} (see report.html there).`,
  ];
  return lines.filter((line) => line !== undefined).join("\n");
}

/** The output with `--json`: the quality first. */
export function tuningJson({ folder, favor }: TuneResult): object {
  return { folder, verdict: verdict(favor), quality: favor.tuning?.measured ?? null, favor };
}
