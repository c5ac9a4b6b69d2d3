import Table from "cli-table3";

import { qualityRows, tuningSummary } from "./report/tuning-section.ts";
import type { TuneResult } from "./tune.ts";

/** What the command line prints. */
export function tuningText({ folder, favor }: TuneResult): string {
  const { tuning } = favor;
  if (tuning === undefined) return `Wrote ${folder}.`;
  const table = new Table({
    head: ["model", "masked accuracy (95 %)", "perplexity (95 %)"],
    style: { head: [], border: [], compact: true },
  });
  table.push(...qualityRows(tuning.measured));
  return [table.toString(), tuningSummary(tuning), `Wrote ${folder} (see report.html there).`].join("\n");
}
